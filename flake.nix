{
  description = "latchkey opens a machine's encrypted disks at boot: bcachefs and LUKS, by TPM, Tang, USB stick, console or SSH";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      each = lib.genAttrs [
        "x86_64-linux"
        "aarch64-linux"
      ];
      pkgsFor = system: nixpkgs.legacyPackages.${system};

      packageFor = pkgs: import ./nix { inherit pkgs; };
    in
    {
      packages = each (system: rec {
        latchkey = packageFor (pkgsFor system);
        default = latchkey;
        bun = (pkgsFor system).callPackage ./nix/bun.nix { };
      });

      overlays.default = final: _prev: { latchkey = packageFor final; };

      nixosModules = rec {
        latchkey =
          { pkgs, lib, ... }:
          {
            imports = [ ./nix/module.nix ];
            boot.initrd.latchkey.package = lib.mkDefault (packageFor pkgs);
          };
        default = latchkey;
      };

      # Examples for disko's options; docs/nixos.md goes through one of them.
      diskoConfigurations = import ./nix/disko;

      checks = each (
        system:
        import ./nix/checks.nix {
          pkgs = pkgsFor system;
          module = self.nixosModules.default;
          package = self.packages.${system}.default;
        }
      );

      devShells = each (system: {
        default = (pkgsFor system).mkShell {
          # npm brings the Bun that the lock file names; the tests that boot machines want a Debian (scripts/set-up.sh).
          packages = [
            (pkgsFor system).nodejs
            (pkgsFor system).shellcheck
            (pkgsFor system).mandoc
            (pkgsFor system).keyutils
          ];
        };
      });

      formatter = each (system: (pkgsFor system).nixfmt);
    };
}
