# A root that is blank at each boot, and an old one in the archive.
{ pkgs, module }:
let
  inherit (pkgs) lib;
  common = import ./common.nix { inherit pkgs module; };
in
pkgs.testers.runNixOSTest {
  name = "latchkey-blank-root";

  nodes.machine.imports = [ common.plain ];

  nodes.target = {
    imports = [ common.opened ];
    fileSystems = lib.mkVMOverride { "/".options = [ "X-mount.subdir=root" ]; };
    boot.initrd.latchkey.blankRoot = {
      enable = true;
      keep = 2;
    };
  };

  testScript =
    { nodes, ... }:
    ''
      ${common.helpers}

      machine.start()
      format_disk(machine)
      machine.succeed(
          "bcachefs unlock /dev/vdb < /tmp/passphrase",
          "mkdir /top && mount -t bcachefs /dev/vdb /top",
          "bcachefs subvolume create /top/root",
          "bcachefs subvolume snapshot --read-only /top/root /top/blank",
          "umount /top",
      )
      install(machine, "${nodes.target.system.build.toplevel}")

      for boot in range(4):
          answer(machine)
          check_root(machine, "prompt")
          machine.fail("test -e /left-over")
          machine.succeed("touch /left-over && sync")
          machine.crash()
          machine.start()

      answer(machine)
      machine.succeed("mkdir /top && mount -t bcachefs /dev/disk/by-uuid/${common.uuid} /top")
      old = machine.succeed("ls /top/old-roots").split()
      assert len(old) == 2, old
      machine.succeed(f"test -e /top/old-roots/{old[-1]}/left-over")
    '';
}
