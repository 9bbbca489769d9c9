{
  lib,
  withRoot,
  equal,
  has,
  lacks,
  fine,
  ...
}:
let
  data = {
    fileSystems."/data" = {
      device = "LABEL=data";
      fsType = "bcachefs";
      options = [
        "nofail"
        "x-systemd.wants=bcachefs-wait-devices@1.service"
        "x-systemd.requires=/mnt/keys"
      ];
    };
  };
  unnamed = withRoot data;
  unnamedUnit = unnamed.systemUnits."latchkey-unlock-dev-disk-by\\x2dlabel-data.service";
  named = withRoot [ data { boot.initrd.latchkey.volumes.data = { }; } ];
  namedUnit = named.systemUnits."latchkey-unlock-data.service";
  pool = withRoot [
    data
    {
      fileSystems."/more" = {
        device = "/dev/sdc";
        fsType = "bcachefs";
      };
      boot.initrd.latchkey = {
        volumes.data = { };
        volumes.more = { };
        pools.storage.volumes = [
          "data"
          "more"
        ];
      };
    }
  ];
  # The same file system as the root, mounted once more later on.
  again = withRoot {
    fileSystems."/srv" = {
      device = "UUID=6e8c1f2a-0b3d-4c5e-8f70-123456789abc";
      fsType = "bcachefs";
    };
  };
  left = withRoot [ data { boot.initrd.latchkey.stage2.enable = false; } ];
in
{
  "a file system that is mounted later is served before its mount" = has unnamedUnit [
    "Before=data.mount shutdown.target"
    "BindsTo=dev-disk-by\\x2dlabel-data.device"
    "KeyringMode=shared"
    "TimeoutStartSec=infinity"
  ];
  "unnamed it is opened by its device, if it is encrypted" = has unnamedUnit [
    "ExecStart=/nix/store/00000000000000000000000000000000-latchkey/bin/latchkey unlock --wait \"/dev/disk/by-label/data\""
    "ExecCondition=/nix/store/00000000000000000000000000000000-bcachefs-tools/bin/bcachefs unlock -c \"/dev/disk/by-label/data\""
    "WantedBy=data.mount"
  ];
  "and its mount does not depend on us" = lacks unnamedUnit [ "RequiredBy=" ];
  "named it must be what it should be, or is not mounted" = has namedUnit [
    "latchkey unlock --wait \"data\""
    "RequiredBy=data.mount"
  ];
  "named it has no way around that" = lacks namedUnit [ "ExecCondition" ];
  "what the mount says of other units holds for opening it" = has unnamedUnit [
    "Requires=mnt-keys.mount"
    "Wants=bcachefs-wait-devices@1.service"
  ];
  "nothing but the mount pulls it in" = lacks unnamedUnit [
    "multi-user.target"
    "local-fs.target"
  ];
  "its stock question is off" = equal unnamed.maskedInSystem [ "unlock-bcachefs-data" ];
  "it is not in the initrd" = equal (lib.filter (lib.hasInfix "data") (lib.attrNames unnamed.initrdUnits)) [ ];
  "a pool is opened as one" = equal (lib.attrNames pool.systemUnits) [ "latchkey-unlock-storage.service" ];
  "before all its mounts" = has pool.systemUnits."latchkey-unlock-storage.service" [
    "Before=data.mount more.mount shutdown.target"
    "RequiredBy=data.mount more.mount"
  ];
  "a pool is fine" = fine pool;
  "a missing member does not keep the others of its pool" = lacks pool.systemUnits."latchkey-unlock-storage.service" [ "BindsTo=" ];
  "what the initrd has opened is not asked for again" = equal [
    again.systemUnits
    again.maskedInSystem
  ] [
    { }
    [ "unlock-bcachefs-srv" ]
  ];
  "left to the stock module, its question stays" = equal [
    left.systemUnits
    left.maskedInSystem
  ] [ { } [ ] ];
}
