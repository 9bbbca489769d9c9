# latchkey, compiled by Bun into one executable.
#
# What is peculiar about it: the program is a section of the Bun executable. strip takes that section away and leaves plain Bun,
# which starts, ignores what it was made for and takes orders from its arguments. So nothing may rewrite the file, and the
# install check asks the finished file who it is: an exit status proves nothing, plain Bun ends with 0.
{
  lib,
  stdenvNoCC,
  bun,
  fetchurl,
  patchelf,
  # For a Bun outside the range of bun-range.nix, at one's own risk.
  allowOtherBun ? false,
}:
let
  manifest = lib.importJSON ../package.json;
  lock = lib.importJSON ../package-lock.json;

  range = import ./bun-range.nix { inherit lib; };

  # Three packages at run time, none with dependencies of its own. Each is fetched by the hash that the lock has for it, so
  # there is no hash here to keep up to date, and the build itself needs no network.
  dependencies = lib.filterAttrs (
    path: entry: path != "" && !(entry.dev or false) && !(entry.optional or false)
  ) lock.packages;
  tarball =
    path: entry:
    let
      name = lib.last (lib.splitString "node_modules/" path);
    in
    fetchurl {
      url = "https://registry.npmjs.org/${name}/-/${baseNameOf name}-${entry.version}.tgz";
      hash = entry.integrity;
    };
in
assert lib.assertMsg (allowOtherBun || range.has bun) ''
  latchkey is built with Bun ${range.oldest} or later, before ${range.next}; this is ${bun.version}, which makes binaries that do not
  work or has not been tried. Use the Bun of latchkey's lock file:
    latchkey.override { bun = pkgs.callPackage ./nix/bun.nix { }; }'';
stdenvNoCC.mkDerivation (final: {
  pname = "latchkey";
  inherit (manifest) version;

  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../package.json
      ../package-lock.json
      ../tsconfig.json
      ../scripts/build.ts
      ../src
      ../initrd-hooks
      ../system-units
      ../docs/man
    ];
  };

  strictDeps = true;
  nativeBuildInputs = [ bun ];
  nativeInstallCheckInputs = [ patchelf ];

  dontConfigure = true;
  dontStrip = true;
  dontPatchELF = true;

  buildPhase = ''
    runHook preBuild
    export HOME=$TMPDIR
    ${lib.concatStrings (
      lib.mapAttrsToList (path: entry: ''
        mkdir -p ${path}
        tar --extract --gzip --strip-components=1 --file=${tarball path entry} --directory=${path}
      '') dependencies
    )}
    LATCHKEY_OUT=$PWD/latchkey bun scripts/build.ts
    ./latchkey --version > version-as-built
    runHook postBuild
  '';

  installPhase = ''
    runHook preInstall
    install -Dm755 latchkey $out/bin/latchkey
    install -Dm644 -t $out/share/man/man8 docs/man/*.8
    install -Dm644 -t $out/share/man/man5 docs/man/*.5
    runHook postInstall
  '';

  doInstallCheck = stdenvNoCC.buildPlatform.canExecute stdenvNoCC.hostPlatform;
  installCheckPhase = ''
    runHook preInstallCheck
    wanted=$(cat version-as-built)
    answer=$($out/bin/latchkey --version)
    case $wanted in
      "latchkey ${final.version} (build "*")") ;;
      *) echo "as built it answered --version with '$wanted'" >&2; exit 1 ;;
    esac
    if [ "$answer" != "$wanted" ]; then
      echo "after the fix-up it answers --version with '$answer', not '$wanted': something has rewritten it" >&2
      exit 1
    fi
    # The builder of the initrd looks for this file; where it is not in the store there will be no initrd.
    interpreter=$(patchelf --print-interpreter $out/bin/latchkey)
    case $interpreter in
      ${builtins.storeDir}/*) ;;
      *) echo "its loader is $interpreter, which no NixOS has: the Bun that compiled it is not from nixpkgs" >&2; exit 1 ;;
    esac
    runHook postInstallCheck
  '';

  meta = {
    description = manifest.description;
    license = lib.licenses.asl20;
    mainProgram = "latchkey";
    # Bun's runtime is a prebuilt program in nixpkgs.
    sourceProvenance = [
      lib.sourceTypes.fromSource
      lib.sourceTypes.binaryNativeCode
    ];
    platforms = [
      "x86_64-linux"
      "aarch64-linux"
    ];
    # Bun would have to fetch itself for the other processor.
    broken = !(stdenvNoCC.buildPlatform.canExecute stdenvNoCC.hostPlatform);
  };
})
