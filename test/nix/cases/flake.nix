{
  lib,
  libPath,
  equal,
  ...
}:
let
  flake = import ../flake-outputs.nix { inherit libPath; flake = ../../..; };
  pretend = import ../pretend/pkgs.nix { inherit lib; };
  withGoodBun = import ../../../nix {
    pkgs = pretend // {
      bun = pretend.bun // {
        version = "1.4.7";
      };
    };
  };
  both = [
    "aarch64-linux"
    "x86_64-linux"
  ];
in
{
  "packages, checks, shells and a formatter for both processors" = equal (map lib.attrNames [
    flake.packages
    flake.checks
    flake.devShells
    flake.formatter
  ]) [ both both both both ];
  "the default package is latchkey" = equal flake.packages.x86_64-linux.default.drvArgs.pname "latchkey";
  "a nixpkgs whose Bun is too old gets the lock's, which has a loader of its own" = equal (map (one: one ? drvArgs)
    flake.packages.x86_64-linux.default.drvArgs.nativeBuildInputs
  ) [ true ];
  "one whose Bun will do gets that" = equal (map (one: one.version) withGoodBun.drvArgs.nativeBuildInputs) [ "1.4.7" ];
  "without flakes the module finds the same package" = equal ((import ../../../nix { pkgs = pretend; }).drvArgs.pname) "latchkey";
  "the module of the flake brings the package along" =
    let
      evaluated = import ../eval.nix { inherit libPath; } {
        modules = [
          flake.nixosModules.default
          {
            boot.initrd.latchkey.enable = true;
            fileSystems."/" = {
              device = "/dev/sda";
              fsType = "bcachefs";
            };
          }
        ];
      };
    in
    equal evaluated.config.boot.initrd.latchkey.package.drvArgs.pname "latchkey";
  "an overlay has the package" = equal (flake.overlays.default
    (import ../pretend/pkgs.nix { inherit lib; system = "x86_64-linux"; })
    { }
  ).latchkey.drvArgs.pname "latchkey";
  "machines are booted on x86-64 only" = equal [
    (lib.attrNames flake.checks.aarch64-linux)
    (lib.attrNames flake.checks.x86_64-linux)
  ] [
    [ "initrd" "package" ]
    [ "initrd" "package" "vm-blank-root" "vm-remote" "vm-tpm" "vm-two-disks" "vm-usb" ]
  ];
  "the image is compared with the package" = equal (lib.hasInfix "cmp " flake.checks.x86_64-linux.initrd.buildCommand) true;
  "every example for disko is there" = equal (map builtins.pathExists (lib.attrValues flake.diskoConfigurations)) [ true true true true ];
}
