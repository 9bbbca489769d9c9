# A root that is blank at each boot: what is to last lies in /persist, /home, /var/log and /nix. All are subvolumes of one encrypted
# bcachefs. Goes with
#
#     boot.initrd.latchkey.blankRoot.enable = true;
let
  uuid = "b9a1f9a6-3c67-4f0c-9d4e-0d7f1f6c0003";
  once = import ./once.nix;
in
{
  disko.devices = {
    disk.main = {
      type = "disk";
      device = "/dev/disk/by-id/nvme-EXAMPLE";
      content = {
        type = "gpt";
        partitions = {
          esp = import ./esp.nix;
          root = {
            size = "100%";
            content = {
              type = "bcachefs";
              filesystem = "root";
              label = "ssd.main";
              extraFormatArgs = [ "--discard" ];
            };
          };
        };
      };
    };

    bcachefs_filesystems.root = {
      type = "bcachefs_filesystem";
      inherit uuid;
      passwordFile = "/tmp/passphrase";
      subvolumes = {
        "root".mountpoint = "/";
        "home".mountpoint = "/home";
        "nix".mountpoint = "/nix";
        "persist".mountpoint = "/persist";
        "log".mountpoint = "/var/log";
      };

      preCreateHook = once;
      preMountHook = once;
      # The root as it is now, empty, is what each boot begins with.
      postCreateHook = ''
        bcachefs unlock -k session "/dev/disk/by-uuid/${uuid}" < /tmp/passphrase
        top=$(mktemp -d)
        mount -t bcachefs "/dev/disk/by-uuid/${uuid}" "$top"
        test -e "$top/blank" || bcachefs subvolume snapshot --read-only "$top/root" "$top/blank"
        umount "$top"
        rmdir "$top"
      '';
    };
  };
}
