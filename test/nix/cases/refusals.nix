{
  lib,
  libPath,
  uuid,
  byUuid,
  system,
  plainRoot,
  withRoot,
  withOptions,
  options,
  rejected,
  accepted,
  refusedWith,
  equal,
  lacks,
  fine,
  ...
}:
let
  cfg = evaluated: evaluated.config.boot.initrd.latchkey;
  sha256 = lib.concatStrings (lib.genList (_: "0f") 32);
  stick = {
    uuid = "4F2A-99C1";
    path = "root.key";
    inherit sha256;
  };
  luks = extra: withRoot [ { boot.initrd.luks.devices.crypt.device = "/dev/sda2"; } extra ];
  names = evaluated: evaluated.config.boot.initrd.systemd.services;
in
{
  # What has a sentence.
  "no systemd in the initrd" = refusedWith
    "it needs systemd in the initrd; set boot.initrd.systemd.enable = true"
    (withRoot { boot.initrd.systemd.enable = false; });
  "nothing to open" = refusedWith
    "there is nothing to open: fileSystems has no bcachefs, boot.initrd.luks.devices is empty, and no volume is named"
    (system (options { enable = true; }));
  "turned off on the kernel command line for good" = refusedWith
    "boot.kernelParams has rd.latchkey=0, which turns it off at every boot; set boot.initrd.latchkey.enable = false instead"
    (withRoot { boot.kernelParams = [ "rd.latchkey=0" ]; });
  "turned off there by another word" = refusedWith
    "boot.kernelParams has rd.latchkey=Off, which turns it off at every boot; set boot.initrd.latchkey.enable = false instead"
    (withRoot { boot.kernelParams = [ "rd.latchkey=1" "rd.latchkey=Off" ]; });
  "a volume that the system does not know" = refusedWith
    "volumes.tank has no device, and the system names none for it (known are root); set volumes.tank.device"
    (withOptions { volumes.tank = { }; });
  "a token that nobody asks" = refusedWith
    "volumes.root.clevis is set up, but \"clevis\" is not among volumes.root.sources; a token nobody asks opens nothing"
    (withOptions { volumes.root = { sources = [ "prompt" ]; clevis.token = "/t.jwe"; }; });
  "a source without its token" = refusedWith
    "volumes.root.sources has \"clevis\" but there is no token; set volumes.root.clevis.token, or clevis.inHeader for a LUKS2 header"
    (withOptions { volumes.root.sources = [ "clevis" "prompt" ]; });
  "tokens in the header of a bcachefs" = refusedWith
    "volumes.root.clevis.inHeader is for LUKS2; a bcachefs has no room for tokens, so name a file by clevis.token"
    (withOptions { volumes.root.clevis.inHeader = true; });
  "a stick that nobody looks for" = refusedWith
    "volumes.root.usb is set up, but \"usb\" is not among volumes.root.sources"
    (withOptions { volumes.root = { sources = [ "prompt" ]; usb = [ stick ]; }; });
  "a source without its stick" = refusedWith
    "volumes.root.sources has \"usb\" but there is no stick; set volumes.root.usb with uuid, path and sha256"
    (withOptions { volumes.root.sources = [ "usb" "prompt" ]; });
  "a key file that nobody reads" = {
    failed = (withOptions { volumes.root = { sources = [ "prompt" ]; keyFile = "/k"; }; }).failed;
    among = "boot.initrd.latchkey: volumes.root.keyFile is set, but \"keyfile\" is not among volumes.root.sources";
  };
  "a source without its vault" = refusedWith
    "volumes.root.sources has \"vault\" but there is none; set volumes.root.settings.vault with volume, path and sha256"
    (withOptions { volumes.root.sources = [ "vault" "prompt" ]; });
  "a token in the store" = refusedWith
    "volumes.root.clevis.token lies in the Nix store, which everybody can read; write its place on the running system as a string"
    (withOptions { volumes.root.clevis.token = "/nix/store/00000000000000000000000000000000-root.jwe"; });
  "a key file in the store" = refusedWith
    "volumes.root.keyFile lies in the Nix store, which everybody can read; write its place on the running system as a string"
    (withOptions { volumes.root.keyFile = "/nix/store/00000000000000000000000000000000-key"; });
  "a boot loader that cannot keep secrets" = refusedWith
    "this boot loader cannot add files to the initrd, so tokens would have to lie in the Nix store; use systemd-boot, GRUB or lanzaboote"
    (withRoot { boot.loader.supportsInitrdSecrets = lib.mkForce false; boot.initrd.latchkey.volumes.root.clevis.token = "/t.jwe"; });
  "the stock clevis on the same device" = refusedWith
    "boot.initrd.clevis.devices.\"UUID=${uuid}\" opens the same device; move its token to volumes.NAME.clevis.token"
    (withRoot { boot.initrd.clevis = { enable = true; devices."UUID=${uuid}".secretFile = "/t.jwe"; }; });
  "the stock clevis on another device is none of ours" = fine (
    withRoot { boot.initrd.clevis = { enable = true; devices."/dev/sdz".secretFile = "/t.jwe"; }; }
  );
  "a key file that systemd would take" = refusedWith
    "boot.initrd.luks.devices.crypt.keyFile is set: systemd would read that file and never ask latchkey; use volumes.crypt.keyFile or usb"
    (luks { boot.initrd.luks.devices.crypt.keyFile = "/k"; boot.initrd.latchkey.volumes.crypt = { }; });
  "a TPM that systemd would ask" = refusedWith
    "boot.initrd.luks.devices.crypt.crypttabExtraOpts has tpm2-device=, which makes systemd open it by itself; choose one of the two"
    (luks { boot.initrd.luks.devices.crypt.crypttabExtraOpts = [ "tpm2-device=auto" ]; boot.initrd.latchkey.volumes.crypt = { }; });
  "a LUKS volume that latchkey has no orders for may do as it likes" = fine (
    luks { boot.initrd.luks.devices.crypt.crypttabExtraOpts = [ "tpm2-device=auto" ]; }
  );
  "two truths about a LUKS device" = refusedWith
    "volumes.crypt.device is not the device of boot.initrd.luks.devices.crypt; leave it out, so that there is one truth"
    (luks { boot.initrd.latchkey.volumes.crypt.device = "/dev/sdb"; });
  "a pool of volumes that there are not" = {
    failed = (withOptions { volumes.root = { }; pools.p.volumes = [ "root" "tank" ]; }).failed;
    among = "boot.initrd.latchkey: pools.p names tank, which is no volume (known are root)";
  };
  "a pool that is opened in two places" = refusedWith
    "pools.p joins volumes that are opened in the initrd with others that are not; they could not be verified together"
    (withRoot { fileSystems."/data" = { device = "/dev/sdb"; fsType = "bcachefs"; }; boot.initrd.latchkey = { volumes = { root = { }; data = { }; }; pools.p.volumes = [ "root" "data" ]; }; });
  "a pool with a volume's name" = refusedWith
    "a volume and a pool are both called root; commands could not tell them apart"
    (withOptions { volumes.root = { }; pools.root.volumes = [ "root" ]; });
  "a volume in two pools" = {
    failed = (withOptions { volumes.root = { }; pools.a.volumes = [ "root" ]; pools.b.volumes = [ "root" ]; }).failed;
    among = "boot.initrd.latchkey: volume root is in several pools: a, b";
  };
  "a name that could be an option of a command" = {
    failed = (withOptions { volumes."-root".device = byUuid; }).failed;
    among = "boot.initrd.latchkey: volumes.-root: a name is letters, digits, \".\", \"_\" and \"-\" without a leading \"-\", and has at most 64 characters";
  };

  # What is a warning.
  "a key on the boot partition is warned of" = equal (map (lib.hasInfix "anyone who reads it can open the disk") (withOptions {
    volumes.root.keyFile = "/etc/latchkey/test.key";
  }).warnings) [ true ];
  "ZFS is declared, and left to the system with a warning" = equal (map (lib.hasInfix "leaves to the system") (withOptions {
    volumes.tank = { kind = "zfs"; device = "rpool/crypt"; };
  }).warnings) [ true ];
  "and not in the file, since latchkey would refuse it" = lacks
    (withOptions { volumes.root = { }; volumes.tank = { kind = "zfs"; device = "rpool/crypt"; }; })
      .config.boot.initrd.systemd.contents."/etc/latchkey/latchkey.toml".source.env.file.text
    [ "zfs" ];
  "a plain root has no warnings" = equal (system plainRoot).warnings [ ];

  # What the types refuse, each beside the nearest right value.
  "a number without a unit" = rejected (cfg (withOptions { promptAfter = "5"; })).promptAfter;
  "a number with a unit" = accepted (cfg (withOptions { promptAfter = "1m30s"; })).promptAfter;
  "a PCR that no TPM has" = rejected (cfg (withOptions { policy.sealPcrAfterUnlock = 24; })).policy.sealPcrAfterUnlock;
  "a PCR" = accepted (cfg (withOptions { policy.sealPcrAfterUnlock = 15; })).policy.sealPcrAfterUnlock;
  "a source that is misspelt" = rejected (cfg (withOptions { volumes.root.sources = [ "clevris" ]; })).volumes;
  "sources" = accepted (cfg (withOptions { volumes.root.sources = [ "clevis" ]; })).volumes;
  "no sources at all" = rejected (cfg (withOptions { volumes.root.sources = [ ]; })).volumes;
  "a kind that there is not" = rejected (cfg (withOptions { volumes.root.kind = "ext4"; })).volumes;
  "an option that is misspelt" = rejected (cfg (withOptions { volumes.root.clevis.tokn = "/t.jwe"; })).volumes;
  "an option" = accepted (cfg (withOptions { volumes.root.clevis.token = "/t.jwe"; })).volumes;
  "a token that is a relative path" = rejected (cfg (withOptions { volumes.root.clevis.token = "t.jwe"; })).volumes;
  "a token that is a Nix path, which would be copied to the store" = rejected (cfg (withOptions { volumes.root.clevis.token = ./units.nix; })).volumes;
  "a stick without its checksum" = rejected (cfg (withOptions { volumes.root.usb = [ (removeAttrs stick [ "sha256" ]) ]; })).volumes;
  "a stick with half a checksum" = rejected (cfg (withOptions { volumes.root.usb = [ (stick // { sha256 = "0f0f"; }) ]; })).volumes;
  "a stick without its UUID" = rejected (cfg (withOptions { volumes.root.usb = [ (stick // { uuid = ""; }) ]; })).volumes;
  "a stick" = accepted (cfg (withOptions { volumes.root.usb = [ stick ]; })).volumes;
  "an empty pool" = rejected (cfg (withOptions { pools.p.volumes = [ ]; })).pools;
  "an unknown option at the top" = rejected (cfg (withOptions { colour = "red"; }));
  "a unit name without its suffix" = rejected (names (withRoot { boot.initrd.systemd.services.latchkey.after = [ "mine" ]; })).latchkey.after;
  "a kind of service that systemd does not have" = rejected (names (withRoot { boot.initrd.systemd.services.mine.serviceConfig.Type = "bogus"; })).mine.serviceConfig;
  "a kind of service that it has" = accepted (names (withRoot { boot.initrd.systemd.services.mine.serviceConfig.Type = "exec"; })).mine.serviceConfig;
  "two answers to one setting" = rejected (names (withRoot { boot.initrd.systemd.services.latchkey.serviceConfig.Type = "simple"; })).latchkey.serviceConfig;
}
