# Everything that is checked: a set of checks for each file beside this one. test/nix/module.test.ts says what a check is.
{ libPath }:
let
  tools = import ./tools.nix { inherit libPath; };
in
builtins.mapAttrs (_: file: import file tools) {
  units = ./units.nix;
  configuration = ./configuration.nix;
  image = ./image.nix;
  stage-2 = ./stage2.nix;
  blank-root = ./blank-root.nix;
  remote = ./remote.nix;
  refusals = ./refusals.nix;
  package = ./package.nix;
  flake = ./flake.nix;
  vm-tests = ./vm-tests.nix;
  disko = ./disko.nix;
}
