# What there is to open, from the options and from the system's own: file systems in groups that one credential opens, and
# volumes with their devices. Nothing here sets an option.
{
  config,
  lib,
  utils,
}:
let
  inherit (lib)
    all
    any
    attrNames
    attrValues
    concatMap
    elem
    filter
    filterAttrs
    foldl'
    hasPrefix
    head
    isList
    mapAttrs
    optional
    optionals
    removePrefix
    sort
    unique
    ;
  inherit (import ../lib.nix { inherit lib; }) devicePath members volumeName;

  cfg = config.boot.initrd.latchkey;
  luksDevices = config.boot.initrd.luks.devices;
  bcachefs = filter (fs: fs.fsType == "bcachefs" && fs.device != null) (attrValues config.fileSystems);
  sharesDevice = some: others: any (device: elem device others) some;

  # One group for each file system, however many mounts it has and however each of them spells the device.
  group =
    prefix: fileSystems:
    map (describe prefix) (
      foldl' (
        groups: fs:
        let
          devices = map devicePath (members fs.device);
          same = filter (known: sharesDevice known.devices devices) groups;
          joined = {
            devices = unique (concatMap (known: known.devices) same ++ devices);
            fileSystems = concatMap (known: known.fileSystems) same ++ [ fs ];
          };
        in
        filter (known: !(sharesDevice known.devices devices)) groups ++ [ joined ]
      ) [ ] fileSystems
    );

  describe =
    prefix:
    { devices, fileSystems }:
    let
      mountPoints = sort (a: b: a < b) (map (fs: fs.mountPoint) fileSystems);
    in
    {
      inherit devices fileSystems mountPoints;
      isEarly = prefix != "";
      name = volumeName (head mountPoints);
      # The first member: any of them opens all. A list of members is no device to systemd.
      device = head devices;
      deviceUnit = "${utils.escapeSystemdPath (head devices)}.device";
      mountUnits = map (path: "${utils.escapeSystemdPath (prefix + path)}.mount") mountPoints;
    };

  initrdGroups = group "/sysroot" (filter utils.fsNeededForBoot bcachefs);
  later = group "" (filter (fs: !(utils.fsNeededForBoot fs)) bcachefs);
  isOpenAlready = one: any (early: sharesDevice early.devices one.devices) initrdGroups;

  resolveVolume =
    name: volume:
    let
      stated = if isList volume.device then volume.device else optional (volume.device != null) volume.device;
      paths = concatMap (device: map devicePath (members device)) stated;
      byDevice = filter (one: sharesDevice one.devices paths) (initrdGroups ++ later);
      byName = filter (one: one.name == name) (initrdGroups ++ later);
      found = if volume.kind != "bcachefs" then [ ] else if stated != [ ] then byDevice else byName;
      isEarly = any (one: one.isEarly) found;
      devices =
        if stated != [ ] then
          stated
        else if volume.kind == "luks" && luksDevices ? ${name} then
          [ luksDevices.${name}.device ]
        else
          concatMap (one: one.devices) found;
      sources =
        if volume.sources != null then
          volume.sources
        else
          optional (volume.clevis.token != null || volume.clevis.inHeader) "clevis"
          ++ optional (volume.usb != [ ]) "usb"
          ++ optional (volume.keyFile != null) "keyfile"
          ++ [ "prompt" ]
          ++ optional (cfg.remote.enable && (isEarly || volume.kind != "bcachefs")) "remote";
    in
    {
      inherit name devices sources;
      inherit (volume) kind clevis usb keyFile settings;
      groups = found;
      # Who opens it: latchkey in the initrd, a unit of ours before its first mount, or nobody but a person.
      stage =
        if isEarly || volume.kind == "zfs" || (volume.kind == "luks" && luksDevices ? ${name}) then
          "initrd"
        else if found != [ ] then
          "stage2"
        else
          "by-hand";
    };

  volumes = mapAttrs resolveVolume cfg.volumes;
  inStage = stage: filterAttrs (_: volume: volume.stage == stage) volumes;
  uses = source: any (volume: elem source volume.sources) (attrValues (inStage "initrd"));
  clevisVolumes = filter (volume: elem "clevis" volume.sources) (attrValues (inStage "initrd"));
in
{
  inherit initrdGroups volumes;
  # Those that the initrd has opened already need no unit, but no second question of the stock module either.
  stage2Groups = optionals cfg.stage2.enable (filter (one: !(isOpenAlready one)) later);
  stage2Served = if cfg.stage2.enable then later else filter isOpenAlready later;

  inInitrd = inStage "initrd";
  poolsIn =
    stage: filterAttrs (_: pool: all (name: (volumes.${name} or { stage = ""; }).stage == stage) pool.volumes) cfg.pools;

  luksNames = attrNames luksDevices;
  root = lib.findFirst (one: elem "/" one.mountPoints) null initrdGroups;
  # `X-mount.subdir=` of the root, which is what becomes the root; null where the whole file system is.
  rootSubdirectory =
    let
      prefix = "X-mount.subdir=";
      options = concatMap (fs: filter (hasPrefix prefix) fs.options) (filter (fs: fs.mountPoint == "/") bcachefs);
    in
    if options == [ ] then null else removePrefix "/" (removePrefix prefix (lib.last options));

  needs = {
    tpm = any (volume: volume.clevis.tpm) clevisVolumes;
    network = cfg.remote.enable || any (volume: volume.clevis.network) clevisVolumes;
    usb = uses "usb" || uses "vault";
    luks = luksDevices != { };
  };
}
