# A root that a USB stick opens, plugged in while the question is up.
{ pkgs, module }:
let
  common = import ./common.nix { inherit pkgs module; };
  stick = "4F2A-99C1";
in
pkgs.testers.runNixOSTest {
  name = "latchkey-usb";

  nodes.machine = {
    imports = [ common.plain ];
    virtualisation.qemu.options = [
      "-device qemu-xhci,id=usb"
      "-drive if=none,id=stick,format=raw,file=$TMPDIR/../stick.img"
    ];
    environment.systemPackages = [ pkgs.dosfstools ];
  };

  nodes.target = {
    imports = [ common.opened ];
    boot.initrd.latchkey.volumes.root.usb = [
      {
        uuid = stick;
        path = "root.key";
        # Of the passphrase that common.nix has.
        sha256 = builtins.hashString "sha256" common.passphrase;
      }
    ];
  };

  testScript =
    { nodes, ... }:
    ''
      ${common.helpers}
      import os
      import subprocess

      # Beside the machine's state, so that it outlives the crash.
      image = os.path.join(os.path.dirname(str(machine.state_dir)), "stick.img")
      subprocess.run(["truncate", "-s", "16M", image], check=True)

      machine.start()
      format_disk(machine)
      machine.send_monitor_command("device_add usb-storage,drive=stick,bus=usb.0,id=key,removable=on")
      machine.wait_until_succeeds("test -b /dev/disk/by-id/usb-*-0:0")
      machine.succeed(
          "mkfs.vfat -i 4F2A99C1 /dev/disk/by-id/usb-*-0:0",
          "mkdir /stick && mount /dev/disk/by-id/usb-*-0:0 /stick",
          "cp /tmp/passphrase /stick/root.key && umount /stick",
      )
      machine.send_monitor_command("device_del key")
      install(machine, "${nodes.target.system.build.toplevel}")
      machine.wait_for_console_text("Passphrase for root")
      machine.send_monitor_command("device_add usb-storage,drive=stick,bus=usb.0,id=key,removable=on")
      check_root(machine, "usb")
    '';
}
