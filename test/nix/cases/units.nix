{
  lib,
  uuid,
  byUuid,
  system,
  plainRoot,
  withRoot,
  equal,
  has,
  lacks,
  fine,
  ...
}:
let
  root = system plainRoot;
  latchkey = root.initrdUnits."latchkey.service";
  fallbackName = "latchkey-fallback-dev-disk-by\\x2duuid-6e8c1f2a\\x2d0b3d\\x2d4c5e\\x2d8f70\\x2d123456789abc.service";
  fallback = root.initrdUnits.${fallbackName};
  target = root.initrdUnits."latchkey-unlocked.target";

  # Five mounts of one file system, each with its device spelled another way, as disko and people write it.
  subvolumes = withRoot {
    fileSystems = {
      "/".options = [ "X-mount.subdir=root" ];
      "/nix" = {
        device = byUuid;
        fsType = "bcachefs";
      };
      "/home" = {
        device = "UUID=${lib.replaceStrings [ "abc" ] [ "ABC" ] uuid}";
        fsType = "bcachefs";
        neededForBoot = true;
      };
      "/persist" = {
        device = "${byUuid}:/dev/sdb";
        fsType = "bcachefs";
        neededForBoot = true;
      };
      "/var/log" = {
        device = "/dev/sdb";
        fsType = "bcachefs";
      };
    };
  };
  fallbacks = evaluated: lib.filter (lib.hasPrefix "latchkey-fallback-") (lib.attrNames evaluated.initrdUnits);

  # The stock module's units, as nixpkgs defines them.
  stockUnits = {
    boot.initrd.systemd.services = lib.genAttrs [ "unlock-bcachefs--" "unlock-bcachefs-nix" ] (_: {
      script = "systemd-ask-password";
      requiredBy = [ "sysroot.mount" ];
      serviceConfig.Type = "oneshot";
    });
  };
  overStock = withRoot stockUnits;

  separate = withRoot {
    fileSystems."/nix" = {
      device = "LABEL=my disk";
      fsType = "bcachefs";
    };
    fileSystems."/boot" = {
      device = "UUID=4F2A-99C1";
      fsType = "vfat";
    };
  };
  luks = withRoot { boot.initrd.luks.devices.crypt.device = "/dev/sda2"; };
  forced = withRoot (
    { lib, ... }:
    {
      boot.initrd.systemd.services.latchkey.serviceConfig.TimeoutStopSec = lib.mkForce "1s";
      boot.initrd.systemd.services.latchkey.after = [ "mine.service" ];
    }
  );
  off = system { fileSystems = plainRoot.fileSystems; };
in
{
  "a root alone is fine" = fine root;
  "it makes these units and no others" = equal (lib.attrNames root.initrdUnits) [
    fallbackName
    "latchkey-refused.service"
    "latchkey-unlocked.target"
    "latchkey.service"
  ];
  "without enable there is nothing" = equal [
    off.initrdUnits
    off.systemUnits
    off.masked
    off.dropIns
    off.failed
  ] [ { } { } [ ] { } [ ] ];

  "a btrfs that has lost a disk is kept from no mount that may go on without it" = has root.udevRules [
    "ENV{ID_BTRFS_READY}==\"0\", TEST==\"/run/latchkey/degraded/$env{ID_FS_UUID}\", ENV{SYSTEMD_READY}=\"1\""
  ];
  "without enable there is no rule" = equal off.udevRules "";
  "latchkey runs boot" = has latchkey [
    "ExecStart=/nix/store/00000000000000000000000000000000-latchkey/bin/latchkey boot"
    "Type=oneshot"
    "RemainAfterExit=true"
  ];
  "latchkey starts before the root is mounted, and before the target" = has latchkey [
    "Before=sysroot.mount latchkey-unlocked.target systemd-fsck-root.service initrd-root-fs.target initrd-switch-root.target emergency.target shutdown.target"
  ];
  "latchkey starts as soon as there can be devices, and after the secrets" = has latchkey [
    "After=systemd-journald.socket systemd-modules-load.service systemd-udevd.service systemd-vconsole-setup.service plymouth-start.service initrd-nixos-copy-secrets.service"
  ];
  "latchkey waits for no device, no network and no other unlocking" = lacks latchkey [
    ".device"
    "network"
    "cryptsetup.target"
    "sysinit.target"
    "BindsTo="
    "Requires="
  ];
  "nothing requires latchkey" = lacks (lib.concatStrings (lib.attrValues root.initrdUnits)) [ "RequiredBy=" ];
  "latchkey is pulled in by the initrd" = has latchkey [ "WantedBy=initrd.target" ];
  "latchkey is gone before an emergency shell and before the real root" = has latchkey [
    "Conflicts=initrd-switch-root.target emergency.target shutdown.target"
  ];
  "rd.latchkey=0 turns it off, by every word for it" = has latchkey [
    "ConditionKernelCommandLine=!rd.latchkey=0"
    "ConditionKernelCommandLine=!rd.latchkey=no"
    "ConditionKernelCommandLine=!rd.latchkey=off"
    "ConditionKernelCommandLine=!rd.latchkey=false"
  ];
  "it runs in the initrd only" = has latchkey [ "ConditionPathExists=/etc/initrd-release" ];
  "a person may take hours" = has latchkey [ "TimeoutStartSec=infinity" ];
  "the mark of an earlier run goes first" = has latchkey [ "ExecStartPre=-/bin/rm -f /run/latchkey/finished" ];
  "it is told where the mounts are written down" = has latchkey [
    "Environment=\"SYSTEMD_SYSROOT_FSTAB=/nix/store/00000000000000000000000000000000-initrd-fstab\""
  ];
  "keys go where mounts find them" = has latchkey [ "KeyringMode=shared" ];
  "no core dumps" = has latchkey [ "LimitCORE=0" ];
  "nobody turns it into plain Bun" = has latchkey [ "UnsetEnvironment=BUN_BE_BUN BUN_OPTIONS BUN_INSPECT NODE_OPTIONS" ];
  "bun:ffi may make its stubs" = lacks latchkey [ "MemoryDenyWriteExecute" ];
  "no default dependencies, or it would wait for sysinit.target" = has latchkey [ "DefaultDependencies=false" ];

  "the second question comes after latchkey and the device" = has fallback [
    "After=latchkey.service dev-disk-by\\x2duuid-6e8c1f2a\\x2d0b3d\\x2d4c5e\\x2d8f70\\x2d123456789abc.device systemd-vconsole-setup.service plymouth-start.service"
  ];
  "the second question comes only when latchkey did not finish" = has fallback [
    "ConditionPathExists=!/run/latchkey/finished"
    "ConditionPathExists=!/run/latchkey/refused"
  ];
  "the second question knows its device and its mount" = has fallback [
    "Environment=\"LATCHKEY_DEVICE=${byUuid}\""
    "Environment=\"LATCHKEY_MOUNT=sysroot.mount\""
  ];
  "a device that never comes does not fail the question" = lacks fallback [ "BindsTo=" ];
  "the second question has the script of the dracut image, which looks at every status itself" = equal (
    root.config.boot.initrd.systemd.services.${lib.removeSuffix ".service" fallbackName}.script
  ) ("set +e\n" + builtins.readFile ../../../initrd-hooks/dracut/latchkey-fallback.sh);

  "the target comes after both and before the mount" = has target [
    "After=latchkey.service ${fallbackName}"
    "Before=sysroot.mount shutdown.target"
  ];
  "a refused root is not mounted and not checked" = equal root.dropIns (
    lib.genAttrs [
      "lib/systemd/system/systemd-fsck-root.service.d/latchkey.conf"
      "lib/systemd/system/sysroot.mount.d/latchkey.conf"
    ] (_: root.dropIns."lib/systemd/system/sysroot.mount.d/latchkey.conf")
  );
  "the refusal is an assertion" =
    has root.dropIns."lib/systemd/system/sysroot.mount.d/latchkey.conf" [ "[Unit]\nAssertPathExists=!/run/latchkey/refused\n" ];
  "the reason stands above the emergency shell" = has root.initrdUnits."latchkey-refused.service" [
    "WantedBy=emergency.target"
    "Before=emergency.service"
    "ConditionPathExists=/run/latchkey/refused"
  ];

  "five mounts of one file system have one second question" = equal (fallbacks subvolumes) [ fallbackName ];
  "which comes before all five" = has subvolumes.initrdUnits.${fallbackName} [
    "Before=sysroot.mount sysroot-home.mount sysroot-nix.mount sysroot-persist.mount sysroot-var-log.mount latchkey-unlocked.target"
  ];
  "and latchkey, too" = has subvolumes.initrdUnits."latchkey.service" [
    "Before=sysroot.mount sysroot-home.mount sysroot-nix.mount sysroot-persist.mount sysroot-var-log.mount latchkey-unlocked.target"
  ];
  "all stock questions of them are off" = equal subvolumes.masked [
    "unlock-bcachefs--"
    "unlock-bcachefs-home"
    "unlock-bcachefs-nix"
    "unlock-bcachefs-persist"
    "unlock-bcachefs-var-log"
  ];
  "a colon among the devices is warned of" = equal (map (lib.hasInfix "joined by colons") subvolumes.warnings) [ true ];
  "a stock unit that is defined is off all the same" = equal (lib.elem "unlock-bcachefs--" overStock.masked) true;
  "a stock unit of something else is left alone" = equal (overStock.initrdUnits ? "unlock-bcachefs-nix.service") true;
  "two file systems have two second questions" = equal (map (lib.removePrefix "latchkey-fallback-dev-disk-by\\x2d") (fallbacks separate)) [
    "label-my\\x5cx20disk.service"
    (lib.removePrefix "latchkey-fallback-dev-disk-by\\x2d" fallbackName)
  ];
  "what is no bcachefs is none of its business" = lacks (lib.concatStrings (lib.attrValues separate.initrdUnits)) [ "sysroot-boot" ];

  "systemd-cryptsetup waits until latchkey listens" = has luks.dropIns."lib/systemd/system/systemd-cryptsetup@.service.d/latchkey.conf" [
    "[Service]\nExecStartPre=-/usr/lib/latchkey/listening wait %I\n"
    "ExecStopPost=-/usr/lib/latchkey/listening again %I %n\n"
  ];
  "what waits is the script of the dracut image" = equal
    luks.config.boot.initrd.systemd.contents."/usr/lib/latchkey/listening".source.text
    (builtins.readFile ../../../initrd-hooks/dracut/latchkey-listening.sh);
  "sockets and questions that are left over go" = has latchkey [ "ExecStopPost=-/usr/lib/latchkey/listening over" ];
  "and nobody orders the two" = lacks luks.initrdUnits."latchkey.service" [ "systemd-cryptsetup" "cryptsetup.target" ];
  "without LUKS nobody waits" =
    equal (root.dropIns ? "lib/systemd/system/systemd-cryptsetup@.service.d/latchkey.conf") false;

  "an owner's mkForce wins" = has forced.initrdUnits."latchkey.service" [ "TimeoutStopSec=1s" ];
  "an owner's order is added" = has forced.initrdUnits."latchkey.service" [ "mine.service" ];
}
