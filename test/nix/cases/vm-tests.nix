{
  lib,
  libPath,
  equal,
  has,
  ...
}:
let
  pkgs = import ../pretend/pkgs.nix { inherit lib; system = "x86_64-linux"; };
  module = ../../../nix/module.nix;
  evaluate = import ../eval.nix { inherit libPath; };
  tests = lib.genAttrs [ "tpm" "usb" "remote" "two-disks" "blank-root" ] (
    name: import (../../../nix/tests + "/${name}.nix") { inherit pkgs module; }
  );
  # What runNixOSTest gives every node.
  surroundings = {
    boot.loader.supportsInitrdSecrets = true;
    fileSystems = lib.mkVMOverride {
      "/".device = "/dev/disk/by-uuid/6c617463-6865-4b65-8000-0000000000aa";
    };
  };
  node = test: name: evaluate { modules = [ surroundings test.nodes.${name} ]; };
  nodes = test: lib.mapAttrs (name: _: node test name) test.nodes;
  scripts = lib.mapAttrs (
    _: test:
    test.testScript {
      nodes = lib.mapAttrs (name: _: { system.build.toplevel = "/nix/store/00000000000000000000000000000000-${name}"; }) test.nodes;
    }
  ) tests;
  target = test: (node test "target").initrdUnits;
in
lib.concatMapAttrs (name: test: {
  "${name}: its machines evaluate" = equal (lib.mapAttrs (_: one: one.failed) (nodes test)) (lib.mapAttrs (_: _: [ ]) test.nodes);
  "${name}: its script is Python" = { python = scripts.${name}; };
  "${name}: its machine has latchkey in the initrd" = equal ((target test) ? "latchkey.service") true;
}) tests
// {
  "tpm: the machines have a TPM" = equal (lib.mapAttrs (_: one: one.config.virtualisation.tpm.enable) (nodes tests.tpm)) {
    machine = true;
    target = true;
  };
  "two-disks: one second question for two mounts" = has
    (target tests.two-disks)."latchkey-fallback-dev-disk-by\\x2duuid-6c617463\\x2d6865\\x2d4b65\\x2d8000\\x2d0000000000aa.service"
    [ "Before=sysroot.mount sysroot-persist.mount" ];
  "blank-root: the machine has the unit" = equal ((target tests.blank-root) ? "latchkey-blank-root.service") true;
}
