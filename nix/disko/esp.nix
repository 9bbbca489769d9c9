# The EFI system partition of the examples. 1 GB: an initrd with latchkey has about 60 MB, and each change of kernel, drivers,
# configuration or token makes another one.
{
  type = "EF00";
  size = "1G";
  content = {
    type = "filesystem";
    format = "vfat";
    mountpoint = "/boot";
    # Tokens and host keys of the initrd lie here.
    mountOptions = [ "umask=0077" ];
  };
}
