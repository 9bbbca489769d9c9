# What the checks are made with.
{ libPath }:
let
  lib = import libPath;
  evaluate = import ../eval.nix { inherit libPath; };
  module = ../../../nix/module.nix;
  uuid = "6e8c1f2a-0b3d-4c5e-8f70-123456789abc";
  byUuid = "/dev/disk/by-uuid/${uuid}";
in
rec {
  inherit
    lib
    libPath
    uuid
    byUuid
    ;

  # An evaluated system: the module, a boot loader that takes secrets, and what a check adds.
  system =
    extra:
    evaluate {
      modules = [
        module
        { boot.loader.supportsInitrdSecrets = true; }
      ]
      ++ lib.flatten [ extra ];
    };

  # One encrypted bcachefs as the root.
  plainRoot = {
    boot.initrd.latchkey.enable = true;
    fileSystems."/" = {
      device = "UUID=${uuid}";
      fsType = "bcachefs";
    };
  };
  withRoot = extra: system [ plainRoot extra ];
  options = settings: { boot.initrd.latchkey = settings; };
  withOptions = settings: withRoot (options settings);

  # The kinds of checks.
  equal = got: want: { inherit got want; };
  has = text: lines: {
    inherit text;
    has = lines;
  };
  lacks = text: lines: {
    inherit text;
    lacks = lines;
  };
  # A failed evaluation: a wrong type, an unknown name, a conflict. Only what is thrown can be caught, so each of these stands
  # beside an acceptance of the nearest right value.
  rejected = value: { rejected = !(builtins.tryEval (builtins.deepSeq value true)).success; };
  accepted = value: { accepted = (builtins.tryEval (builtins.deepSeq value true)).success; };
  # A system that its own assertions refuse, with this sentence; and nothing else is wrong with it.
  refusedWith = sentence: evaluated: {
    failed = evaluated.failed;
    sentence = "boot.initrd.latchkey: ${sentence}";
  };
  fine = evaluated: equal evaluated.failed [ ];
}
