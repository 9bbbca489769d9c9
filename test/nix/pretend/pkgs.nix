# A pretend package set. Every package is a plain attribute set that looks like a derivation to the module system and prints as a
# recognisable store path; what a builder was told stays readable. Nothing can be built, nothing is fetched.
{
  lib,
  system ? "x86_64-linux",
}:
let
  storePath = name: "/nix/store/00000000000000000000000000000000-${name}";
  fake =
    name: extra:
    {
      type = "derivation";
      inherit name system;
      pname = name;
      version = "0";
      outputName = "out";
      outPath = storePath name;
      drvPath = storePath "${name}.drv";
      meta.mainProgram = name;
      # Outputs that modules pick from.
      out = fake name extra;
      bin = fake name extra;
    }
    // extra;
  # A written file keeps its text.
  written = name: text: fake name { inherit text; };

  hostPlatform = {
    inherit system;
    isLinux = true;
    isx86_64 = system == "x86_64-linux";
  };
  buildPlatform = hostPlatform // {
    canExecute = other: other.system == system;
  };
  derive =
    a:
    let
      args = if builtins.isFunction a then a args else a;
    in
    fake args.pname {
      inherit (args) version;
      drvArgs = args;
      meta = args.meta or { };
    };

  plain = [
    "bcachefs-tools"
    "clevis"
    "cpio"
    "cryptsetup"
    "dosfstools"
    "glibc"
    "keyutils"
    "mandoc"
    "nixfmt"
    "nodejs"
    "openssh"
    "patchelf"
    "shellcheck"
    "zfs"
    "zstd"
  ];
  all = lib.genAttrs plain (name: fake name { }) // {
    inherit lib system;
    path = ./nixpkgs;
    bun = fake "bun" { version = "1.3.13"; };
    latchkey = fake "latchkey" { };
    runtimeShell = storePath "bash/bin/bash";
    systemd = fake "systemd" { };
    linuxPackages = { };
    linuxPackages_latest = { };

    stdenvNoCC = {
      inherit hostPlatform buildPlatform;
      mkDerivation = derive;
    };
    stdenv = all.stdenvNoCC // {
      cc.bintools.dynamicLinker = storePath "glibc/lib/ld-linux.so.2";
    };

    # What is fetched keeps its address and its hash.
    fetchurl = a: fake (builtins.baseNameOf a.url) { inherit (a) url hash; };
    writeText = written;
    writeScript = written;
    writeTextDir =
      path: text:
      fake (builtins.baseNameOf path) {
        inherit text;
        destination = path;
      };
    symlinkJoin = a: fake a.name { inherit (a) paths; };
    # What a build writes is not known here; what it would run is.
    runCommand =
      name: env: text:
      fake name {
        inherit env;
        buildCommand = text;
      };
    mkShell = a: fake "shell" { inherit (a) packages; };
    nixos = configuration: { config.system.build.initialRamdisk = fake "initrd" { inherit configuration; }; };
    # A test keeps its nodes and its script.
    testers.runNixOSTest = test: test;

    callPackage =
      f: a:
      let
        package = if builtins.isFunction f then f else import f;
      in
      package (builtins.intersectAttrs (builtins.functionArgs package) all // a);
  };
in
all
