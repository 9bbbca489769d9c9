# The package, with nixpkgs' own Bun where its version is one that works, else with the one of our lock file.
{
  pkgs ? import <nixpkgs> { },
}:
let
  range = import ./bun-range.nix { inherit (pkgs) lib; };
in
pkgs.callPackage ./package.nix {
  bun = if range.has pkgs.bun then pkgs.bun else pkgs.callPackage ./bun.nix { };
}
