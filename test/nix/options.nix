# Every option of the module by its path, and whether it has what an option must have.
{ libPath }:
let
  lib = import libPath;
  evaluated = import ./eval.nix { inherit libPath; } { modules = [ ../../nix/module.nix ]; };
  isOption = value: (value._type or "") == "option";
  described = option: option ? description && option ? example;
  walk =
    path: tree:
    lib.concatLists (
      lib.mapAttrsToList (
        name: value:
        let
          here = path ++ [ name ];
          inner = (value.type.getSubOptions or (_: { })) here;
        in
        if lib.hasPrefix "_" name then
          [ ]
        else if isOption value then
          if value.internal or false then
            [ ]
          else
            [
              {
                path = lib.concatStringsSep "." here;
                isDescribed = described value;
              }
            ]
            ++ walk (here ++ suffix value) inner
        else
          walk here value
      ) tree
    );
  # The name of one among several, and nothing for a list: an element has no name.
  suffix = option: lib.optional (lib.hasPrefix "attribute set of" (option.type.description or option.type.name)) "NAME";
in
walk [ ] evaluated.options.boot.initrd.latchkey
