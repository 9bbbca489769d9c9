# A root of two devices with two mounts: one question, both devices, both mounts.
{ pkgs, module }:
let
  inherit (pkgs) lib;
  common = import ./common.nix { inherit pkgs module; };
in
pkgs.testers.runNixOSTest {
  name = "latchkey-two-disks";

  nodes.machine = {
    imports = [ common.plain ];
    virtualisation.emptyDiskImages = lib.mkForce [
      2048
      2048
    ];
  };

  nodes.target = {
    imports = [ common.opened ];
    virtualisation.emptyDiskImages = lib.mkForce [
      2048
      2048
    ];
    fileSystems = lib.mkVMOverride {
      "/".options = [ "X-mount.subdir=root" ];
      "/persist" = {
        device = "/dev/disk/by-uuid/${common.uuid}";
        fsType = "bcachefs";
        options = [ "X-mount.subdir=persist" ];
        neededForBoot = true;
      };
    };
  };

  testScript =
    { nodes, ... }:
    ''
      ${common.helpers}

      machine.start()
      format_disk(machine, devices="/dev/vdb /dev/vdc", options="--replicas=2")
      machine.succeed(
          "bcachefs unlock /dev/vdb < /tmp/passphrase",
          "mkdir /top && mount -t bcachefs /dev/vdb:/dev/vdc /top",
          "bcachefs subvolume create /top/root && bcachefs subvolume create /top/persist",
          "umount /top",
      )
      install(machine, "${nodes.target.system.build.toplevel}")
      answer(machine)
      check_root(machine, "prompt")
      assert " /persist bcachefs " in machine.succeed("cat /proc/mounts")
      journal = machine.succeed("journalctl --boot --output=cat")
      assert journal.count("Passphrase for root") == 1, journal
    '';
}
