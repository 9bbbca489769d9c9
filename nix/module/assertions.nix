# What cannot work is refused while the system is built, in sentences; at boot there is nobody to read them.
{ config, lib, ... }:
let
  inherit (lib)
    any
    attrNames
    attrValues
    concatMap
    concatStringsSep
    elem
    filter
    hasPrefix
    isString
    optional
    optionals
    unique
    ;
  inherit (import ../lib.nix { inherit lib; })
    devicePath
    isVolumeName
    members
    offSwitches
    ;

  cfg = config.boot.initrd.latchkey;
  inherit (cfg) blankRoot resolved;
  initrd = config.boot.initrd;
  volumes = attrValues resolved.volumes;
  list = names: if names == [ ] then "none" else concatStringsSep ", " names;
  say = text: "boot.initrd.latchkey: ${text}";
  demand = assertion: message: {
    inherit assertion;
    message = say message;
  };
  switchedOff = filter (parameter: elem (lib.toLower parameter) offSwitches) config.boot.kernelParams;
  isInStore = path: hasPrefix builtins.storeDir (toString path);

  general = [
    (demand initrd.systemd.enable "it needs systemd in the initrd; set boot.initrd.systemd.enable = true")
    (demand (switchedOff == [ ])
      "boot.kernelParams has ${list switchedOff}, which turns it off at every boot; set boot.initrd.latchkey.enable = false instead"
    )
    (demand (resolved.initrdGroups != [ ] || resolved.stage2Groups != [ ] || resolved.luksNames != [ ] || volumes != [ ])
      "there is nothing to open: fileSystems has no bcachefs, boot.initrd.luks.devices is empty, and no volume is named"
    )
    (demand (!resolved.needs.network || initrd.network.enable || initrd.systemd.network.enable)
      "Tang and answers over SSH need the network in the initrd; set boot.initrd.network.enable = true for DHCP, or boot.initrd.systemd.network.enable = true with networks of your own"
    )
  ];

  known = unique (map (group: group.name) (resolved.initrdGroups ++ resolved.stage2Groups) ++ resolved.luksNames);
  aboutVolume =
    volume:
    let
      it = "volumes.${volume.name}";
      set = cfg.volumes.${volume.name};
      hasSource = source: elem source volume.sources;
      hasToken = volume.clevis.token != null || volume.clevis.inHeader;
    in
    [
      (demand (isVolumeName volume.name)
        "${it}: a name is letters, digits, \".\", \"_\" and \"-\" without a leading \"-\", and has at most 64 characters"
      )
      (demand (volume.devices != [ ])
        "${it} has no device, and the system names none for it (known are ${list known}); set ${it}.device"
      )
      (demand (volume.kind != "bcachefs" || set.device == null || lib.length (unique (map (g: g.device) volume.groups)) <= 1)
        "${it}.device names several file systems; each of them is a volume of its own, and a pool joins them"
      )
      (demand (volume.kind != "luks" || !(resolved.luksNames != [ ] && initrd.luks.devices ? ${volume.name}) || sameLuksDevice volume)
        "${it}.device is not the device of boot.initrd.luks.devices.${volume.name}; leave it out, so that there is one truth"
      )
      (demand (hasSource "clevis" || !hasToken)
        "${it}.clevis is set up, but \"clevis\" is not among ${it}.sources; a token nobody asks opens nothing"
      )
      (demand (!(hasSource "clevis") || hasToken || set.settings ? clevis)
        "${it}.sources has \"clevis\" but there is no token; set ${it}.clevis.token, or clevis.inHeader for a LUKS2 header"
      )
      (demand (!volume.clevis.inHeader || volume.kind == "luks")
        "${it}.clevis.inHeader is for LUKS2; a ${volume.kind} has no room for tokens, so name a file by clevis.token"
      )
      (demand (hasSource "usb" || volume.usb == [ ])
        "${it}.usb is set up, but \"usb\" is not among ${it}.sources"
      )
      (demand (!(hasSource "usb") || volume.usb != [ ] || set.settings ? usb)
        "${it}.sources has \"usb\" but there is no stick; set ${it}.usb with uuid, path and sha256"
      )
      (demand (!(hasSource "vault") || set.settings ? vault)
        "${it}.sources has \"vault\" but there is none; set ${it}.settings.vault with volume, path and sha256"
      )
      (demand (hasSource "keyfile" || volume.keyFile == null)
        "${it}.keyFile is set, but \"keyfile\" is not among ${it}.sources"
      )
      (demand (!(hasSource "remote") || cfg.remote.enable)
        "${it}.sources has \"remote\"; set boot.initrd.latchkey.remote.enable = true, or nothing will listen"
      )
      (demand (volume.clevis.token == null || !(isInStore volume.clevis.token))
        "${it}.clevis.token lies in the Nix store, which everybody can read; write its place on the running system as a string"
      )
      (demand (volume.keyFile == null || !(isInStore volume.keyFile))
        "${it}.keyFile lies in the Nix store, which everybody can read; write its place on the running system as a string"
      )
    ];
  sameLuksDevice =
    volume: map devicePath volume.devices == [ (devicePath initrd.luks.devices.${volume.name}.device) ];

  poolOf = name: filter (pool: elem name cfg.pools.${pool}.volumes) (attrNames cfg.pools);
  aboutPool =
    name: pool:
    let
      missing = filter (volume: !(resolved.volumes ? ${volume})) pool.volumes;
      stages = unique (map (volume: resolved.volumes.${volume}.stage) (filter (volume: resolved.volumes ? ${volume}) pool.volumes));
    in
    [
      (demand (missing == [ ]) "pools.${name} names ${list missing}, which is no volume (known are ${list (attrNames resolved.volumes)})")
      (demand (!(resolved.volumes ? ${name})) "a volume and a pool are both called ${name}; commands could not tell them apart")
      (demand (lib.length stages <= 1)
        "pools.${name} joins volumes that are opened in the initrd with others that are not; they could not be verified together"
      )
    ]
    ++ map (
      volume: demand (lib.length (poolOf volume) == 1) "volume ${volume} is in several pools: ${list (poolOf volume)}"
    ) pool.volumes;

  secrets = filter (volume: volume.clevis.token != null || volume.keyFile != null) (attrValues resolved.inInitrd);
  aboutSecrets = optional (secrets != [ ]) (
    demand config.boot.loader.supportsInitrdSecrets
      "this boot loader cannot add files to the initrd, so tokens would have to lie in the Nix store; use systemd-boot, GRUB or lanzaboote"
  );

  # Two programs with one token each ask the TPM at the same time, and the stock one asks for a passphrase when it loses.
  stockClevis = optionals initrd.clevis.enable (
    filter (name: any (group: elem (devicePath name) group.devices) resolved.initrdGroups || elem name resolved.luksNames) (
      attrNames initrd.clevis.devices
    )
  );
  aboutClevis = map (
    name:
    demand false "boot.initrd.clevis.devices.\"${name}\" opens the same device; move its token to volumes.NAME.clevis.token"
  ) stockClevis;

  aboutLuks = concatMap (
    name:
    let
      device = initrd.luks.devices.${name};
      own = filter (option: any (hasPrefix option) (device.crypttabExtraOpts or [ ])) [
        "tpm2-device="
        "fido2-device="
        "pkcs11-uri="
      ];
    in
    [
      (demand ((device.keyFile or null) == null || !(resolved.inInitrd ? ${name}))
        "boot.initrd.luks.devices.${name}.keyFile is set: systemd would read that file and never ask latchkey; use volumes.${name}.keyFile or usb"
      )
      (demand (own == [ ] || !(resolved.inInitrd ? ${name}))
        "boot.initrd.luks.devices.${name}.crypttabExtraOpts has ${list own}, which makes systemd open it by itself; choose one of the two"
      )
    ]
  ) resolved.luksNames;

  ssh = initrd.network.ssh;
  aboutRemote = optionals cfg.remote.enable [
    (demand ssh.enable "answers over SSH need boot.initrd.network.ssh.enable, and something has turned it off")
    (demand (ssh.hostKeys != [ ] || ssh.ignoreEmptyHostKeys)
      "boot.initrd.network.ssh.hostKeys is empty; make keys of the initrd's own with ssh-keygen and name their place as a string"
    )
    (demand (lib.all (key: isString key && !(isInStore key)) ssh.hostKeys)
      "boot.initrd.network.ssh.hostKeys has a Nix path, which copies the private key to the store; write its place as a string"
    )
  ];

  inside = path: path != null && !(elem ".." (lib.splitString "/" path));
  aboutBlankRoot = optionals blankRoot.enable [
    (demand (resolved.root != null) "blankRoot needs a bcachefs on fileSystems.\"/\"")
    (demand (blankRoot.subvolume != null)
      "blankRoot needs a root that is a subvolume; give fileSystems.\"/\".options an X-mount.subdir=NAME"
    )
    (demand (blankRoot.subvolume == resolved.rootSubdirectory)
      "blankRoot.subvolume is not what X-mount.subdir= of fileSystems.\"/\" mounts, so the new root would never be used"
    )
    (demand (lib.all inside (filter (path: path != null) [ blankRoot.subvolume blankRoot.blank blankRoot.archive ]))
      "blankRoot: subvolume, blank and archive are paths inside the file system, without \"..\""
    )
    (demand
      (lib.length (unique [ blankRoot.subvolume blankRoot.blank blankRoot.archive ]) == 3)
      "blankRoot: subvolume, blank and archive are three different things"
    )
    (demand
      (!(any (inner: hasPrefix "${toString blankRoot.subvolume}/" inner) [ blankRoot.blank blankRoot.archive ]))
      "blankRoot: blank and archive lie inside the root, and would be moved away with it"
    )
  ];

  warnings =
    map (
      group:
      say "fileSystems.\"${lib.head group.mountPoints}\" has several devices joined by colons, and systemd waits for one of that whole name, which never comes; use device = \"UUID=…\""
    ) (filter (group: any (fs: lib.length (members fs.device) > 1) group.fileSystems) resolved.initrdGroups)
    ++ map (
      volume: say "volumes.${volume.name}.keyFile puts the key on the boot partition: anyone who reads it can open the disk"
    ) (filter (volume: volume.keyFile != null) (attrValues resolved.inInitrd))
    ++ map (
      volume: say "volumes.${volume.name} is ZFS, which this version leaves to the system; boot.zfs.requestEncryptionCredentials keeps asking"
    ) (filter (volume: volume.kind == "zfs") volumes);
in
{
  config = lib.mkIf cfg.enable {
    assertions =
      general
      ++ concatMap aboutVolume volumes
      ++ lib.concatLists (lib.mapAttrsToList aboutPool cfg.pools)
      ++ aboutSecrets
      ++ aboutClevis
      ++ aboutLuks
      ++ aboutRemote
      ++ aboutBlankRoot;
    inherit warnings;
  };
}
