{
  lib,
  libPath,
  equal,
  has,
  rejected,
  accepted,
  ...
}:
let
  pkgsFor = system: import ../pretend/pkgs.nix { inherit lib system; };
  pkgs = pkgsFor "x86_64-linux";
  manifest = lib.importJSON ../../../package.json;
  with' = version: pkgs.callPackage ../../../nix/package.nix { bun = pkgs.bun // { inherit version; }; };
  package = with' "1.4.5";
  inherit (package) drvArgs;
  bun = system: (pkgsFor system).callPackage ../../../nix/bun.nix { };
in
{
  "nothing rewrites the program" = equal [
    drvArgs.dontStrip
    drvArgs.dontPatchELF
  ] [ true true ];
  "its version is that of package.json" = equal drvArgs.version manifest.version;
  "the finished file is asked who it is, and must answer as it did before" = has drvArgs.installCheckPhase [
    "answer=$($out/bin/latchkey --version)"
    "if [ \"$answer\" != \"$wanted\" ]"
    "\"latchkey ${manifest.version} (build \"*\")\""
  ];
  "its loader must be in the store" = has drvArgs.installCheckPhase [ "patchelf --print-interpreter" ];
  "the check runs" = equal drvArgs.doInstallCheck true;
  "the three packages it needs come by the lock's hashes" = equal (lib.length (
    lib.filter (lib.hasInfix "tar --extract") (lib.splitString "\n" drvArgs.buildPhase)
  )) (lib.length (lib.attrNames manifest.dependencies));
  "the build asks npm for nothing" = equal (lib.hasInfix "npm" drvArgs.buildPhase) false;
  "manual pages are installed" = has drvArgs.installPhase [ "docs/man/*.8" ];
  "it says that Bun is a prebuilt program" = equal (lib.length package.meta.sourceProvenance) 2;
  "Bun 1.3.12 is refused" = rejected (with' "1.3.12").name;
  "Bun 1.3.14 is refused" = rejected (with' "1.3.14").name;
  "Bun 1.5 has not been tried" = rejected (with' "1.5.0").name;
  "Bun 1.4.4 is older than what it is built with" = rejected (with' "1.4.4").name;
  "Bun 1.4.5 is accepted" = accepted (with' "1.4.5").name;
  "the oldest Bun that will do is the one of package.json" =
    equal (import ../../../nix/bun-range.nix { inherit lib; }).oldest manifest.devDependencies.bun;
  "somebody may insist" = accepted (pkgs.callPackage ../../../nix/package.nix {
    bun = pkgs.bun // { version = "1.5.0"; };
    allowOtherBun = true;
  }).name;
  "the lock's Bun is that of package.json" = equal (bun "x86_64-linux").drvArgs.version manifest.devDependencies.bun;
  "its file comes by the lock's hash" = equal [
    (bun "x86_64-linux").drvArgs.src.url
    (lib.hasPrefix "sha512-" (bun "x86_64-linux").drvArgs.src.hash)
  ] [
    "https://registry.npmjs.org/@oven/bun-linux-x64/-/bun-linux-x64-${manifest.devDependencies.bun}.tgz"
    true
  ];
  "there is one for arm64" = has (bun "aarch64-linux").drvArgs.src.url [ "bun-linux-aarch64" ];
  "its loader is set once and nothing else is touched" = equal [
    (bun "x86_64-linux").drvArgs.dontStrip
    (bun "x86_64-linux").drvArgs.dontPatchELF
  ] [ true true ];
  "other processors are refused" = rejected (bun "riscv64-linux").drvArgs.src.url;
}
