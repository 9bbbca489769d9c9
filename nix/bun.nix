# The Bun that latchkey is built and tested with, from the npm registry by the hash in package-lock.json: for releases of nixpkgs
# whose own Bun is too old or too new. Its loader is set to the store's, once; anything more breaks what it compiles.
{
  lib,
  stdenvNoCC,
  stdenv,
  fetchurl,
  patchelf,
}:
let
  lock = lib.importJSON ../package-lock.json;
  names = {
    x86_64-linux = "@oven/bun-linux-x64";
    aarch64-linux = "@oven/bun-linux-aarch64";
  };
  inherit (stdenvNoCC.hostPlatform) system;
  name = names.${system} or (throw "latchkey: there is no Bun for ${system}, only for ${toString (lib.attrNames names)}");
  entry = lock.packages."node_modules/${name}";
in
stdenvNoCC.mkDerivation {
  pname = "bun";
  inherit (entry) version;

  src = fetchurl {
    url = "https://registry.npmjs.org/${name}/-/${baseNameOf name}-${entry.version}.tgz";
    hash = entry.integrity;
  };

  strictDeps = true;
  nativeBuildInputs = [ patchelf ];

  dontConfigure = true;
  dontBuild = true;
  dontStrip = true;
  dontPatchELF = true;

  installPhase = ''
    runHook preInstall
    install -Dm755 bin/bun $out/bin/bun
    patchelf --set-interpreter ${stdenv.cc.bintools.dynamicLinker} $out/bin/bun
    runHook postInstall
  '';

  doInstallCheck = true;
  installCheckPhase = ''
    runHook preInstallCheck
    [ "$($out/bin/bun --version)" = ${entry.version} ]
    runHook postInstallCheck
  '';

  meta = {
    description = "Bun as latchkey is built with it";
    homepage = "https://bun.com";
    license = lib.licenses.mit;
    mainProgram = "bun";
    sourceProvenance = [ lib.sourceTypes.binaryNativeCode ];
    platforms = lib.attrNames names;
  };
}
