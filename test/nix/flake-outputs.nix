# The outputs of the flake, called with pretend inputs: no lock file, nothing fetched.
{ libPath, flake }:
let
  lib = import libPath;
  nixpkgs = {
    inherit lib;
    legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (
      system: import ./pretend/pkgs.nix { inherit lib system; }
    );
  };
  definition = import (flake + "/flake.nix");
  inputs = { inherit nixpkgs self; };
  self = definition.outputs (builtins.intersectAttrs (builtins.functionArgs definition.outputs) inputs);
in
self
