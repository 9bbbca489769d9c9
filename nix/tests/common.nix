# What the tests in this folder share. Each of them starts a plain NixOS, makes an encrypted disk there by hand, installs a second
# configuration that has its root on that disk, crashes, and starts again: so what boots is what an owner would boot.
#
# Not run where latchkey is developed: they want KVM and nixpkgs (`nix build .#checks.x86_64-linux.vm-tpm`).
{
  pkgs,
  module,
}:
let
  inherit (pkgs) lib;
in
rec {
  uuid = "6c617463-6865-4b65-8000-0000000000aa";
  passphrase = "vexed Quokka 7 jumps over dwarf zebu";

  # The machine on which the disk is made.
  plain =
    { config, ... }:
    {
      imports = [ module ];
      virtualisation = {
        useBootLoader = true;
        useEFIBoot = true;
        # The second configuration is not in the image's own store.
        mountHostNixStore = true;
        emptyDiskImages = [ 2048 ];
        memorySize = 2048;
      };
      boot.loader.systemd-boot.enable = true;
      boot.loader.timeout = 0;
      boot.initrd.systemd.enable = true;
      boot.kernelPackages = pkgs.linuxPackages_latest;
      boot.supportedFilesystems.bcachefs = true;
      environment.systemPackages = [
        pkgs.bcachefs-tools
        config.boot.initrd.latchkey.package
      ];
    };

  # The machine that boots from it; never started itself.
  opened = {
    imports = [ plain ];
    virtualisation.rootDevice = "/dev/disk/by-uuid/${uuid}";
    fileSystems = lib.mkVMOverride { "/".fsType = lib.mkForce "bcachefs"; };
    boot.initrd.latchkey.enable = true;
    boot.kernelParams = [ "console=ttyS0" ];
  };

  # Python that every script begins with.
  helpers = ''
    def format_disk(machine, devices="/dev/vdb", options=""):
        machine.wait_for_unit("multi-user.target")
        machine.succeed(
            "echo -n '${passphrase}' > /tmp/passphrase",
            f"bcachefs format --encrypted --uuid=${uuid} {options} {devices} < /tmp/passphrase",
            "udevadm settle",
        )


    def install(machine, toplevel):
        machine.succeed(
            f"nix-env -p /nix/var/nix/profiles/system --set {toplevel}",
            f"{toplevel}/bin/switch-to-configuration boot",
            "sync",
        )
        machine.crash()
        machine.start()


    def answer(machine, text="${passphrase}"):
        machine.wait_for_console_text("Passphrase for root")
        machine.send_console(text + "\n")


    def check_root(machine, opened_by):
        machine.wait_for_unit("multi-user.target")
        assert " / bcachefs " in machine.succeed("cat /proc/mounts")
        report = machine.succeed("latchkey report --json")
        assert f'"opened_by": "{opened_by}"' in report, report
  '';
}
