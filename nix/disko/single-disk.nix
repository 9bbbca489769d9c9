# One disk, one encrypted bcachefs, no subvolumes: the shortest way to an encrypted root.
#
# The passphrase is read from /tmp/passphrase while disko formats, and from nowhere afterwards.
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
              # Never left out: an empty label makes `bcachefs format` fail (disko#1177).
              label = "ssd.main";
              # Options of the device belong here and not to the file system below, or they come too late (disko#1293).
              extraFormatArgs = [ "--discard" ];
            };
          };
        };
      };
    };

    bcachefs_filesystems.root = {
      type = "bcachefs_filesystem";
      # Your own, from uuidgen: disko's default is made of the name alone, the same on every machine.
      uuid = "b9a1f9a6-3c67-4f0c-9d4e-0d7f1f6c0001";
      passwordFile = "/tmp/passphrase";
      extraFormatArgs = [ "--compression=lz4" ];
      mountpoint = "/";
      mountOptions = [ "noatime" ];
    };
  };
}
