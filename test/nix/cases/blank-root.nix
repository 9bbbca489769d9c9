{
  lib,
  byUuid,
  withRoot,
  rejected,
  accepted,
  equal,
  has,
  fine,
  refusedWith,
  ...
}:
let
  subvolume = {
    fileSystems."/".options = [
      "noatime"
      "X-mount.subdir=root"
    ];
  };
  blank = settings: withRoot [ subvolume { boot.initrd.latchkey.blankRoot = { enable = true; } // settings; } ];
  plain = blank { };
  unit = plain.initrdUnits."latchkey-blank-root.service";
in
{
  "a blank root is fine" = fine plain;
  "the command has all names, the root's from the mount options" = has unit [
    "latchkey blank-root \"--root\" \"root\" \"--blank\" \"blank\" \"--archive\" \"old-roots\" \"--keep\" \"10\" \"--keep-days\" \"30\" \"${byUuid}\""
  ];
  "after unlocking and after a resume" = has unit [
    "After=latchkey-unlocked.target"
    "systemd-hibernate-resume.service local-fs-pre.target"
  ];
  "before the root is mounted, and before folders are made in it" = has unit [
    "Before=sysroot.mount initrd-root-fs.target create-needed-for-boot-dirs.service"
  ];
  "the root is mounted whatever becomes of it" = equal [
    (lib.hasInfix "WantedBy=sysroot.mount" unit)
    (lib.hasInfix "RequiredBy" unit)
  ] [ true false ];
  "it sees the key" = has unit [ "KeyringMode=shared" ];
  "not on a refused volume" = has unit [ "ConditionPathExists=!/run/latchkey/refused" ];
  "leaving the emergency shell does not blank the root again" = equal (lib.hasInfix "emergency" unit) false;
  "without it there is no unit" = equal ((withRoot subvolume).initrdUnits ? "latchkey-blank-root.service") false;
  "other names and numbers" =
    has
      (blank {
        blank = "snapshots/empty";
        archive = "snapshots/roots";
        keep = 0;
        keepDays = 7;
      }).initrdUnits."latchkey-blank-root.service"
      [ "\"--blank\" \"snapshots/empty\" \"--archive\" \"snapshots/roots\" \"--keep\" \"0\" \"--keep-days\" \"7\"" ];
  "a root that is no subvolume is refused" = refusedWith
    "blankRoot needs a root that is a subvolume; give fileSystems.\"/\".options an X-mount.subdir=NAME"
    (withRoot { boot.initrd.latchkey.blankRoot.enable = true; });
  "another subvolume than the mounted one is refused" = refusedWith
    "blankRoot.subvolume is not what X-mount.subdir= of fileSystems.\"/\" mounts, so the new root would never be used"
    (blank { subvolume = "other"; });
  "an archive inside the root is refused" = refusedWith
    "blankRoot: blank and archive lie inside the root, and would be moved away with it"
    (blank { archive = "root/old"; });
  "a way out of the file system is refused" = refusedWith
    "blankRoot: subvolume, blank and archive are paths inside the file system, without \"..\""
    (blank { archive = "a/../../b"; });
  "one name for two things is refused" = refusedWith
    "blankRoot: subvolume, blank and archive are three different things"
    (blank { archive = "blank"; });
  "a negative number is rejected" = rejected (blank { keep = -1; }).config.boot.initrd.latchkey.blankRoot.keep;
  "none is a number" = accepted (blank { keep = 0; }).config.boot.initrd.latchkey.blankRoot.keep;
  "no days are rejected" = rejected (blank { keepDays = 0; }).config.boot.initrd.latchkey.blankRoot.keepDays;
  "a blank root on a tmpfs is refused" = {
    failed = (
      withRoot {
        fileSystems."/".fsType = lib.mkForce "tmpfs";
        fileSystems."/nix" = {
          device = "/dev/sdb";
          fsType = "bcachefs";
        };
        boot.initrd.latchkey.blankRoot.enable = true;
      }
    ).failed;
    among = "boot.initrd.latchkey: blankRoot needs a bcachefs on fileSystems.\"/\"";
  };
}
