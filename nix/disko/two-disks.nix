# Two disks in one encrypted bcachefs, each datum on both: either disk may fail. One passphrase, one question.
let
  partition = label: {
    size = "100%";
    content = {
      type = "bcachefs";
      filesystem = "root";
      inherit label;
      extraFormatArgs = [ "--discard" ];
    };
  };
in
{
  disko.devices = {
    disk.first = {
      type = "disk";
      device = "/dev/disk/by-id/nvme-EXAMPLE_1";
      content = {
        type = "gpt";
        partitions = {
          esp = import ./esp.nix;
          root = partition "ssd.first";
        };
      };
    };
    disk.second = {
      type = "disk";
      device = "/dev/disk/by-id/nvme-EXAMPLE_2";
      content = {
        type = "gpt";
        partitions.root = partition "ssd.second";
      };
    };

    bcachefs_filesystems.root = {
      type = "bcachefs_filesystem";
      uuid = "b9a1f9a6-3c67-4f0c-9d4e-0d7f1f6c0002";
      passwordFile = "/tmp/passphrase";
      extraFormatArgs = [ "--replicas=2" ];
      mountpoint = "/";
    };
  };
}
