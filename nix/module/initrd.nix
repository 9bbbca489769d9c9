# The units of the initrd. As in the dracut image (docs/decisions/boot-with-dracut.md): order and no requirement, so that a
# program that is missing, crashes or hangs leaves the boot where it would be without it, and a second question asks then.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  inherit (lib)
    concatMap
    listToAttrs
    mkForce
    nameValuePair
    ;
  inherit (import ../lib.nix { inherit lib; }) offSwitches;
  cfg = config.boot.initrd.latchkey;
  inherit (cfg.resolved) needs;
  groups = cfg.resolved.initrdGroups;
  # The root always, also where it is on LUKS or ZFS.
  mountUnits = lib.unique ([ "sysroot.mount" ] ++ concatMap (group: group.mountUnits) groups);

  # NixOS's initrd has no /etc/fstab: systemd is told of the mounts in its own variable, which no service sees by itself.
  fstab = {
    SYSTEMD_SYSROOT_FSTAB = config.boot.initrd.systemd.managerEnvironment.SYSTEMD_SYSROOT_FSTAB or null;
  };

  # A btrfs that goes on without a disk: its comments are for those who find it among other files.
  degradedRule = lib.concatStringsSep "\n" (
    lib.filter (line: !lib.hasPrefix "#" line) (
      lib.splitString "\n" (builtins.readFile ../../initrd-hooks/dracut/65-latchkey.rules)
    )
  );

  # Gone before the real root runs, and before an emergency shell takes the console.
  ends = [
    "initrd-switch-root.target"
    "emergency.target"
    "shutdown.target"
  ];

  # fsck of the root is ordered and refused like its mount; NixOS has none for bcachefs, but owners may.
  rootFsck = "systemd-fsck-root.service";

  fallbackName = group: "latchkey-fallback-${utils.escapeSystemdPath group.device}";
  fallback = group: {
    description = "Ask for the passphrase of ${group.device} (latchkey did not finish)";
    wantedBy = [ "initrd.target" ];
    # The device, so that there is something to ask for. Wanted and not required: the script says when it never came.
    wants = [
      "systemd-ask-password-console.path"
      group.deviceUnit
    ];
    after = [
      "latchkey.service"
      group.deviceUnit
      "systemd-vconsole-setup.service"
      "plymouth-start.service"
    ];
    before = group.mountUnits ++ [ "latchkey-unlocked.target" ] ++ ends;
    conflicts = ends;
    unitConfig = {
      DefaultDependencies = false;
      ConditionPathExists = [
        "/etc/initrd-release"
        "!/run/latchkey/finished"
        "!/run/latchkey/refused"
      ];
    };
    environment = {
      LATCHKEY_DEVICE = group.device;
      LATCHKEY_MOUNT = lib.head group.mountUnits;
    };
    # NixOS runs scripts with -e, and this one looks at every status itself.
    script = "set +e\n" + builtins.readFile ../../initrd-hooks/dracut/latchkey-fallback.sh;
    serviceConfig = {
      Type = "oneshot";
      RemainAfterExit = true;
      TimeoutStartSec = "infinity";
      TimeoutStopSec = "5s";
      SyslogIdentifier = "latchkey-fallback";
      StandardInput = "null";
      StandardOutput = "journal+console";
      StandardError = "journal+console";
      LimitCORE = 0;
    };
  };

  # In a package, because a definition of the units themselves may be somebody else's.
  dropIn = unit: pkgs.writeTextDir "lib/systemd/system/${unit}.d/latchkey.conf";
  dropIns = pkgs.symlinkJoin {
    name = "latchkey-drop-ins";
    paths = map refusal (lib.unique ([ rootFsck ] ++ mountUnits)) ++ lib.optional needs.luks listening;
  };
  refusal =
    unit:
    dropIn unit ''
      # latchkey writes this file, with its reason in it, when a volume that the initrd mounts is not what the configuration says.
      # Then nothing is mounted, and the emergency shell follows.
      [Unit]
      AssertPathExists=!/run/latchkey/refused
    '';
  # Lets systemd-cryptsetup wait until latchkey listens, and starts it again when latchkey has died under its hands.
  listening = dropIn "systemd-cryptsetup@.service" (
    withoutComments (builtins.readFile ../../initrd-hooks/dracut/cryptsetup-latchkey.conf)
  );
  withoutComments =
    text:
    lib.concatStringsSep "\n" (lib.filter (line: !(lib.hasPrefix "#" line)) (lib.splitString "\n" text));

  # The stock module's questions, one for each mount: it asks for a file system once for every subvolume.
  stockUnits =
    list:
    listToAttrs (
      concatMap (
        group:
        map (
          path: nameValuePair "unlock-bcachefs-${utils.escapeSystemdPath path}" { enable = mkForce false; }
        ) group.mountPoints
      ) list
    );
in
{
  config = lib.mkIf cfg.enable {
    boot.initrd.services.udev.rules = degradedRule;
    boot.initrd.systemd = {
      services = {
        latchkey = {
          description = "Open encrypted volumes (latchkey)";
          wantedBy = [ "initrd.target" ];
          wants = [
            "systemd-udevd.service"
            "systemd-ask-password-console.path"
          ];
          # It waits for devices, the TPM and servers by itself, each with a limit of its own: so not after network-online.target
          # and not after a device, or a dead link would hold up the question.
          after = [
            "systemd-journald.socket"
            "systemd-modules-load.service"
            "systemd-udevd.service"
            "systemd-vconsole-setup.service"
            "plymouth-start.service"
            "initrd-nixos-copy-secrets.service"
          ];
          before =
            mountUnits
            ++ [
              "latchkey-unlocked.target"
              rootFsck
              "initrd-root-fs.target"
            ]
            ++ ends;
          conflicts = ends;
          unitConfig = {
            DefaultDependencies = false;
            ConditionPathExists = "/etc/initrd-release";
            ConditionKernelCommandLine = map (word: "!${word}") offSwitches;
          };
          environment = fstab;
          serviceConfig = {
            Type = "oneshot";
            RemainAfterExit = true;
            # Of an earlier run, before an emergency shell was left: the mark must be that of this run.
            ExecStartPre = "-/bin/rm -f /run/latchkey/finished";
            ExecStart = "${cfg.package}/bin/latchkey boot";
            # A socket that it left behind would keep systemd-cryptsetup from asking, a question any other from the console.
            ExecStopPost = "-/usr/lib/latchkey/listening over";
            # A person may take hours to answer. A program that hangs is ended by its own alarm(2).
            TimeoutStartSec = "infinity";
            KillMode = "control-group";
            TimeoutStopSec = "5s";
            # The user keyring, where keys go for mounts, is linked into the session.
            KeyringMode = "shared";
            StandardInput = "null";
            StandardOutput = "journal+console";
            StandardError = "journal+console";
            LimitCORE = 0;
            # These would turn the program into plain Bun, or give orders to the Bun inside.
            UnsetEnvironment = "BUN_BE_BUN BUN_OPTIONS BUN_INSPECT NODE_OPTIONS";
            OOMScoreAdjust = -900;
          };
        };

        # Above the emergency shell stands why there is one.
        latchkey-refused = {
          description = "Why the root filesystem was refused (latchkey)";
          wantedBy = [ "emergency.target" ];
          before = [ "emergency.service" ];
          unitConfig = {
            DefaultDependencies = false;
            ConditionPathExists = "/run/latchkey/refused";
          };
          script = builtins.readFile ../../initrd-hooks/dracut/latchkey-refused.sh;
          serviceConfig.Type = "oneshot";
        };
      }
      // listToAttrs (map (group: nameValuePair (fallbackName group) (fallback group)) groups)
      // stockUnits groups;

      # Reached when latchkey and the second questions are through, whatever came of them, and before the first mount: the place
      # for services that change a file system before it becomes the root.
      targets.latchkey-unlocked = {
        description = "Encrypted volumes of the initrd are open (latchkey)";
        wantedBy = [ "initrd.target" ];
        after = [ "latchkey.service" ] ++ map (group: "${fallbackName group}.service") groups;
        before = mountUnits ++ [ "shutdown.target" ];
        conflicts = [ "shutdown.target" ];
        unitConfig.DefaultDependencies = false;
      };

      packages = [ dropIns ];

      contents."/usr/lib/latchkey/listening".source = pkgs.writeScript "latchkey-listening" (
        builtins.readFile ../../initrd-hooks/dracut/latchkey-listening.sh
      );
    };

    systemd.services = stockUnits cfg.resolved.stage2Served;
  };
}
