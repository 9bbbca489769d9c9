# Bcachefs file systems that are mounted after the initrd: one unit for each of them, or for each pool, before its mounts.
{
  config,
  lib,
  utils,
  ...
}:
let
  inherit (lib)
    attrNames
    attrValues
    concatMap
    elem
    filter
    hasPrefix
    listToAttrs
    nameValuePair
    optionalAttrs
    optionals
    removePrefix
    ;
  cfg = config.boot.initrd.latchkey;
  inherit (cfg) resolved;

  pools = resolved.poolsIn "stage2";
  volumeOf =
    group:
    lib.findFirst (volume: lib.any (one: one.device == group.device) volume.groups) null (attrValues resolved.volumes);
  poolOf = volume: lib.findFirst (pool: volume != null && elem volume.name pools.${pool}.volumes) null (attrNames pools);

  # What systemd.mount(5) lets a mount say about other units holds for what opens it, too.
  unitsNamed =
    option: fileSystems:
    map (
      unit:
      if hasPrefix "/dev/" unit then
        "${utils.escapeSystemdPath unit}.device"
      else if hasPrefix "/" unit then
        "${utils.escapeSystemdPath unit}.mount"
      else
        unit
    ) (concatMap (fs: map (removePrefix option) (filter (hasPrefix option) fs.options)) fileSystems);

  # Named volumes have to be what the configuration says, or they are not mounted. The others are mounted as before.
  unlock =
    {
      argument,
      groups,
      isNamed,
    }:
    let
      fileSystems = concatMap (group: group.fileSystems) groups;
      mountUnits = concatMap (group: group.mountUnits) groups;
      deviceUnits = map (group: group.deviceUnit) groups;
      required = unitsNamed "x-systemd.requires=" fileSystems;
      wanted = unitsNamed "x-systemd.wants=" fileSystems;
    in
    {
      description = "Open ${argument} (latchkey)";
      documentation = [ "man:latchkey-unlock(8)" ];
      # Pulled in by the mounts alone: noauto, automount and nofail keep their meaning.
      requiredBy = optionals isNamed mountUnits;
      wantedBy = optionals (!isNamed) mountUnits;
      before = mountUnits ++ [ "shutdown.target" ];
      # Of a pool a member may be missing; what that means is for latchkey to say.
      bindsTo = optionals (lib.length groups == 1) deviceUnits;
      requires = required;
      wants = optionals (lib.length groups > 1) deviceUnits ++ wanted ++ [ "systemd-ask-password-console.path" ];
      after = deviceUnits ++ required ++ wanted;
      conflicts = [ "shutdown.target" ];
      unitConfig.DefaultDependencies = false;
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        # Other members may come later than the one that systemd knows.
        ExecStart = "${cfg.package}/bin/latchkey unlock --wait ${utils.escapeSystemdExecArgs [ argument ]}";
        TimeoutStartSec = "infinity";
        KeyringMode = "shared";
        StandardInput = "null";
        LimitCORE = 0;
        UnsetEnvironment = "BUN_BE_BUN BUN_OPTIONS BUN_INSPECT NODE_OPTIONS";
      }
      // optionalAttrs (!isNamed) {
        # Status 1: not encrypted, so there is nothing to open.
        ExecCondition = "${config.boot.bcachefs.package}/bin/bcachefs unlock -c ${
          utils.escapeSystemdExecArgs [ argument ]
        }";
      };
    };

  # A pool opens as one, by its name; a volume by its own; what nobody named by its device.
  duty =
    group:
    let
      volume = volumeOf group;
      pool = poolOf volume;
    in
    if pool != null then
      {
        argument = pool;
        groups = concatMap (name: resolved.volumes.${name}.groups) pools.${pool}.volumes;
        isNamed = true;
      }
    else if volume != null then
      {
        argument = volume.name;
        groups = [ group ];
        isNamed = true;
      }
    else
      {
        argument = group.device;
        groups = [ group ];
        isNamed = false;
      };

  unitName = argument: "latchkey-unlock-${utils.escapeSystemdPath argument}";
in
{
  config = lib.mkIf cfg.enable {
    systemd.services = listToAttrs (
      map (
        group:
        let
          one = duty group;
        in
        nameValuePair (unitName one.argument) (unlock one)
      ) resolved.stage2Groups
    );
  };
}
