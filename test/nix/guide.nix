# The examples of docs/nixos.md, each on a machine that has what the guide has told to make before it: the messages of assertions
# that fail, for each.
{ libPath, examples }:
let
  evaluate = import ./eval.nix { inherit libPath; };
  machine = {
    boot.loader.supportsInitrdSecrets = true;
    fileSystems."/" = {
      device = "UUID=b9a1f9a6-3c67-4f0c-9d4e-0d7f1f6c0003";
      fsType = "bcachefs";
      options = [ "X-mount.subdir=root" ];
    };
    boot.initrd.latchkey.enable = true;
  };
  # builtins.toFile would need a store: the text is an expression as it stands.
  failures =
    example:
    (evaluate {
      modules = [
        ../../nix/module.nix
        machine
        example
      ];
    }).failed;
in
map failures examples
