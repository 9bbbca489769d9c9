{
  lib,
  uuid,
  byUuid,
  system,
  plainRoot,
  withRoot,
  withOptions,
  equal,
  has,
  lacks,
  fine,
  ...
}:
let
  # The file as written, out of the derivation that has latchkey check it.
  textOf = derivation: derivation.env.file.text;
  inInitrd = evaluated: textOf evaluated.config.boot.initrd.systemd.contents."/etc/latchkey/latchkey.toml".source;
  onSystem = evaluated: textOf evaluated.config.environment.etc."latchkey/latchkey.toml".source;

  plain = system plainRoot;
  token = withOptions { volumes.root.clevis.token = "/persist/etc/latchkey/root.jwe"; };
  full = withRoot {
    fileSystems."/data" = {
      device = "LABEL=data";
      fsType = "bcachefs";
    };
    boot.initrd.luks.devices.crypt.device = "/dev/disk/by-partlabel/crypt";
    boot.initrd.latchkey = {
      promptAfter = "5s";
      deviceTimeout = "3m";
      memberTimeout = "1m30s";
      tpm = "device:/dev/tpmrm1";
      volumes = {
        root = {
          clevis = {
            token = "/persist/etc/latchkey/root.jwe";
            timeout = "30s";
          };
          usb = [
            {
              uuid = "4F2A-99C1";
              path = "root.key";
              sha256 = lib.concatStrings (lib.genList (_: "0f") 32);
              timeout = "20s";
            }
          ];
        };
        crypt = {
          clevis.inHeader = true;
          settings.luks.key_slot = 1;
        };
        data = { };
      };
      pools.both.volumes = [
        "root"
        "crypt"
      ];
      policy = {
        requireEncrypted = true;
        allowDegraded = true;
        sealPcrAfterUnlock = 15;
      };
      settings.policy.allow_degraded = false;
    };
  };
in
{
  "with nothing said the file says nothing, and latchkey finds the root itself" = equal (inInitrd plain) "";
  "a token lies where the secrets are copied to" = has (inInitrd token) [
    "[volumes.root]"
    "device = \"${byUuid}\""
    "kind = \"bcachefs\""
    "sources = [\"clevis\", \"prompt\"]"
    "[volumes.root.clevis]\ntoken = \"/etc/latchkey/root.jwe\"\n"
  ];
  "on the running system it lies where its owner put it" = has (onSystem token) [
    "token = \"/persist/etc/latchkey/root.jwe\""
  ];
  "the boot loader copies it from there" = equal token.config.boot.initrd.secrets {
    "/etc/latchkey/root.jwe" = "/persist/etc/latchkey/root.jwe";
  };
  "all options arrive" = fine full;
  "all options arrive in the file" = {
    toml = inInitrd full;
    plan = "initrd";
  };
  "and in that of the system" = {
    toml = onSystem full;
    plan = "system";
  };
  "a later file system is none of the initrd's business" = lacks (inInitrd full) [ "data" ];
  "but of the system's" = has (onSystem full) [ "[volumes.data]" ];
  "settings win over options" = has (inInitrd full) [ "allow_degraded = false" ];
  "settings of a volume arrive" = has (inInitrd full) [ "[volumes.crypt.luks]\nkey_slot = 1\n" ];
  "latchkey reads the file while the system is built" = {
    text = (full.config.boot.initrd.systemd.contents."/etc/latchkey/latchkey.toml".source).buildCommand;
    has = [ "/bin/latchkey unlock --dry-run --config $file" ];
  };
  "names that TOML would misread are in quotes" = has (inInitrd (
    withRoot {
      boot.initrd.luks.devices."a.b".device = "/dev/sda";
      boot.initrd.latchkey.volumes."a.b" = { };
    }
  )) [ "[volumes.\"a.b\"]" ];
  "a LUKS device is that of the system" = has (inInitrd full) [
    "device = \"/dev/disk/by-partlabel/crypt\""
    "kind = \"luks\""
  ];
  "a certificate authority goes along" =
    let
      evaluated = withOptions {
        volumes.root.clevis = {
          token = "/t.jwe";
          ca = "/nix/store/00000000000000000000000000000000-ca.pem";
        };
      };
    in
    equal (lib.elem "/nix/store/00000000000000000000000000000000-ca.pem" (
      map (path: path.source) evaluated.config.boot.initrd.systemd.storePaths
    )) true;
}
