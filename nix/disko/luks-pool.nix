# Two LUKS disks with one passphrase, and a btrfs raid1 on both. Goes with
#
#     boot.initrd.latchkey = {
#       enable = true;
#       volumes = { crypt1 = { }; crypt2 = { }; };
#       pools.root.volumes = [ "crypt1" "crypt2" ];
#     };
let
  luks = name: content: {
    size = "100%";
    content = {
      type = "luks";
      inherit name content;
      # Read while disko formats. Not settings.keyFile: that would go into the configuration of the booted system.
      passwordFile = "/tmp/passphrase";
      settings.allowDiscards = true;
    };
  };
in
{
  disko.devices.disk = {
    # disko makes disks in the order of their names: the last one has the file system, when the first is open already.
    first = {
      type = "disk";
      device = "/dev/disk/by-id/ata-EXAMPLE_1";
      content = {
        type = "gpt";
        partitions = {
          esp = import ./esp.nix;
          crypt1 = luks "crypt1" null;
        };
      };
    };
    second = {
      type = "disk";
      device = "/dev/disk/by-id/ata-EXAMPLE_2";
      content = {
        type = "gpt";
        partitions.crypt2 = luks "crypt2" {
          type = "btrfs";
          extraArgs = [
            "--data=raid1"
            "--metadata=raid1"
            "/dev/mapper/crypt1"
          ];
          subvolumes = {
            "/root".mountpoint = "/";
            "/home".mountpoint = "/home";
            "/nix" = {
              mountpoint = "/nix";
              mountOptions = [ "noatime" ];
            };
          };
        };
      };
    };
  };
}
