# A root that is blank at each boot, and /nix on a subvolume of the same encrypted file system.
let
  device = "UUID=6c617463-6865-4b65-8000-000000000001";
  subvolume = name: {
    inherit device;
    fsType = "bcachefs";
    options = [ "X-mount.subdir=${name}" ];
  };
in
{
  boot.initrd.latchkey = {
    enable = true;
    promptAfter = "500ms";
    volumes.root = { };
    blankRoot.enable = true;
  };
  fileSystems."/" = subvolume "root";
  fileSystems."/nix" = subvolume "nix";
}
