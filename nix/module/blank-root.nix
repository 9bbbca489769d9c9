# A blank root at each boot. The work is that of `latchkey blank-root`; here is when it may be done.
{
  config,
  lib,
  utils,
  ...
}:
let
  cfg = config.boot.initrd.latchkey;
  inherit (cfg) blankRoot resolved;
  # Not the emergency shell: whoever leaves it goes on with the root that was put in place.
  ends = [
    "initrd-switch-root.target"
    "shutdown.target"
  ];
in
{
  config = lib.mkIf (cfg.enable && blankRoot.enable && resolved.root != null) {
    boot.initrd.systemd.services.latchkey-blank-root = {
      description = "Put a blank root in place (latchkey)";
      documentation = [ "man:latchkey-blank-root(8)" ];
      # Wanted and not required: a machine with an old root is better than one without any.
      wantedBy = [ "sysroot.mount" ];
      after = [
        "latchkey-unlocked.target"
        resolved.root.deviceUnit
        # Whoever resumes has this file system mounted. The command looks for an image as well.
        "systemd-hibernate-resume.service"
        "local-fs-pre.target"
      ];
      wants = [ resolved.root.deviceUnit ];
      before =
        resolved.root.mountUnits
        ++ [
          "initrd-root-fs.target"
          "create-needed-for-boot-dirs.service"
        ]
        ++ ends;
      conflicts = ends;
      unitConfig = {
        DefaultDependencies = false;
        ConditionPathExists = [
          "/etc/initrd-release"
          "!/run/latchkey/refused"
        ];
      };
      # How the root is mounted, for its options: initrd.nix says why so.
      environment.SYSTEMD_SYSROOT_FSTAB =
        config.boot.initrd.systemd.managerEnvironment.SYSTEMD_SYSROOT_FSTAB or null;
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = "${cfg.package}/bin/latchkey blank-root ${
          utils.escapeSystemdExecArgs [
            "--root"
            blankRoot.subvolume
            "--blank"
            blankRoot.blank
            "--archive"
            blankRoot.archive
            "--keep"
            (toString blankRoot.keep)
            "--keep-days"
            (toString blankRoot.keepDays)
            resolved.root.device
          ]
        }";
        # The kernel may have to recover the file system first, which takes as long as it takes.
        TimeoutStartSec = "infinity";
        # It mounts, so it must see the keys that latchkey has left in the user keyring.
        KeyringMode = "shared";
        StandardInput = "null";
        StandardOutput = "journal+console";
        StandardError = "journal+console";
        LimitCORE = 0;
        UnsetEnvironment = "BUN_BE_BUN BUN_OPTIONS BUN_INSPECT NODE_OPTIONS";
      };
    };
  };
}
