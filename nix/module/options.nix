# The options of boot.initrd.latchkey. What they do is in the files beside this one.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  inherit (lib) types;

  # Every option has a description and an example: there is no way to declare one without.
  option = { type, description, example, ... }@declaration: lib.mkOption declaration;
  # An option that says nothing unless somebody sets it, so that the program's own default holds.
  unset = declaration: option (declaration // { type = types.nullOr declaration.type; default = null; });

  duration = types.strMatching "([0-9]+(ms|s|m|h))+";
  volumeName = types.strMatching "[A-Za-z0-9._][A-Za-z0-9._-]*";
  # Never types.path: a Nix path would be copied into the store, where everybody can read it.
  absolutePath = types.strMatching "/.+";
  # A folder of the file system, as X-mount.subdir= has it: it stays inside.
  insidePath = types.strMatching "[^/ ][^ ]*";

  clevis = types.submodule {
    options = {
      token = unset {
        type = absolutePath;
        example = "/persist/etc/latchkey/root.jwe";
        description = ''
          The Clevis token on the running system, where `latchkey enroll` has put it. The boot loader's installation copies
          it into the initrd as /etc/latchkey/NAME.jwe; it never enters the Nix store. It must be there when that happens:
          enrol first, set this afterwards.
        '';
      };
      inHeader = option {
        type = types.bool;
        default = false;
        example = true;
        description = "LUKS2 only: the tokens lie in the header of the volume, as `clevis luks bind` and `latchkey enroll` leave them.";
      };
      timeout = unset {
        type = duration;
        example = "30s";
        description = "When the token is given up; Tang servers that do not answer are asked again until then.";
      };
      ca = unset {
        type = types.path;
        example = lib.literalExpression "./tang-ca.pem";
        description = "A PEM file: Tang servers over https must have a certificate by an authority in it. No secret; it goes into the store.";
      };
      network = option {
        type = types.bool;
        default = false;
        example = true;
        description = "The token wants a Tang server, so the initrd needs the network. DHCP on every wired port unless networks are configured.";
      };
      tpm = option {
        type = types.bool;
        default = true;
        example = false;
        description = "The token wants a TPM, so the initrd gets its drivers.";
      };
    };
  };

  usb = types.submodule {
    options = {
      uuid = option {
        type = types.nonEmptyStr;
        example = "4F2A-99C1";
        description = "UUID of the stick's file system, as `lsblk -o NAME,UUID` shows it. A label is never enough.";
      };
      path = option {
        type = types.strMatching "/?[^/].*";
        example = "root.key";
        description = "The key file on the stick.";
      };
      sha256 = option {
        type = types.strMatching "[0-9a-fA-F]{64}";
        example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        description = "SHA-256 of the key file. A stick whose file differs is not used.";
      };
      format = unset {
        type = types.enum [
          "raw"
          "hex"
          "text"
        ];
        example = "hex";
        description = "How the key is written: its bytes as they are (LUKS), hexadecimal digits, or a line of text (bcachefs).";
      };
      anyBus = option {
        type = types.bool;
        default = false;
        example = true;
        description = "Take the file system also from a disk that is neither removable nor on USB.";
      };
      timeout = unset {
        type = duration;
        example = "20s";
        description = "When the stick counts as absent; one that is plugged in later is still used.";
      };
    };
  };

  volume = types.submodule (
    { name, ... }:
    {
      options = {
        kind = option {
          type = types.enum [
            "bcachefs"
            "luks"
            "zfs"
          ];
          default = if config.boot.initrd.luks.devices ? ${name} then "luks" else "bcachefs";
          defaultText = lib.literalExpression ''if boot.initrd.luks.devices has this name then "luks" else "bcachefs"'';
          example = "bcachefs";
          description = "What the volume is.";
        };
        device = unset {
          type = types.either types.str (types.nonEmptyListOf types.str);
          example = "UUID=6e8c1f2a-0b3d-4c5e-8f70-123456789abc";
          description = ''
            The device or devices: `UUID=`, `LABEL=`, `PARTUUID=`, `PARTLABEL=`, `ID=` or a path. Where nothing is said, a
            bcachefs is the one that `fileSystems` mounts (`root` is the one on `/`, `var-log` the one on `/var/log`), and a
            LUKS volume is the one of that name in `boot.initrd.luks.devices`.
          '';
        };
        sources = unset {
          type = types.nonEmptyListOf (
            types.enum [
              "clevis"
              "usb"
              "keyfile"
              "prompt"
              "remote"
              "vault"
            ]
          );
          example = [
            "clevis"
            "prompt"
          ];
          description = ''
            Ways to the credential, preferred ones first; all of them run at once. Where nothing is said: every way that is
            set up below, the question, and the remote answer if `boot.initrd.latchkey.remote.enable` is on.
          '';
        };
        clevis = option {
          type = clevis;
          default = { };
          example = {
            token = "/persist/etc/latchkey/root.jwe";
          };
          description = "A Clevis token: TPM, Tang, or a threshold of both.";
        };
        usb = option {
          type = types.listOf usb;
          default = [ ];
          example = [
            {
              uuid = "4F2A-99C1";
              path = "root.key";
              sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
            }
          ];
          description = "USB sticks, any of which opens the volume.";
        };
        keyFile = unset {
          type = absolutePath;
          example = "/etc/latchkey/test.key";
          description = ''
            A key file on the running system that is copied into the initrd as it is. Whoever can read the boot partition can
            then open the disk: for virtual machines and tests.
          '';
        };
        settings = option {
          type = types.attrsOf types.anything;
          default = { };
          example = {
            luks.key_slot = 1;
          };
          description = "Further keys of the table `[volumes.NAME]` of latchkey.toml(5).";
        };
      };
    }
  );
in
{
  options.boot.initrd.latchkey = {
    enable = option {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Opens encrypted volumes at boot with latchkey: every bcachefs that the initrd mounts, once for each file system, and
        every device of `boot.initrd.luks.devices`. Without further options it asks for the passphrase, once for all.
      '';
    };

    package = option {
      type = types.package;
      default = pkgs.latchkey or (import ../. { inherit pkgs; });
      defaultText = lib.literalExpression "pkgs.latchkey";
      example = lib.literalExpression "inputs.latchkey.packages.x86_64-linux.default";
      description = "The latchkey to use. Never a stripped one: that is plain Bun and opens nothing.";
    };

    promptAfter = unset {
      type = duration;
      example = "5s";
      description = "When the question appears at the latest, while other sources still run. The program's default is 2 s.";
    };

    deviceTimeout = unset {
      type = duration;
      example = "3m";
      description = "How long to wait for the first device of a volume. The program's default is 90 s.";
    };

    memberTimeout = unset {
      type = duration;
      example = "1m";
      description = "How long to wait for the other members of a file system once one is there. The program's default is 30 s.";
    };

    tpm = unset {
      type = types.nonEmptyStr;
      example = "device:/dev/tpmrm0";
      description = "Which TPM, as a TCTI string. The first /dev/tpmrm? where nothing is said.";
    };

    volumes = option {
      type = types.attrsOf volume;
      default = { };
      example = {
        root = {
          clevis.token = "/persist/etc/latchkey/root.jwe";
        };
      };
      description = ''
        Volumes that are opened by more than a question, or that must be encrypted: one that is named here and turns up
        unencrypted is refused. Others need no entry.
      '';
    };

    pools = option {
      type = types.attrsOf (
        types.submodule {
          options.volumes = option {
            type = types.nonEmptyListOf volumeName;
            example = [
              "disk1"
              "disk2"
            ];
            description = "Names of volumes.";
          };
        }
      );
      default = { };
      example = {
        data.volumes = [
          "disk1"
          "disk2"
        ];
      };
      description = "Volumes with one passphrase: it is verified on all of them before the first one is opened.";
    };

    policy = {
      requireEncrypted = unset {
        type = types.bool;
        example = true;
        description = "Refuse volumes that turn up unencrypted: all of them, or (false) not even those that are named.";
      };
      allowDegraded = option {
        type = types.bool;
        default = false;
        example = true;
        description = "Open a file system whose members are not all there once `memberTimeout` has passed.";
      };
      sealPcrAfterUnlock = unset {
        type = types.ints.between 0 15;
        example = 15;
        description = "The PCR that is extended once everything is open: tokens bound to it stay shut for the rest of the boot.";
      };
    };

    settings = option {
      type = types.attrsOf types.anything;
      default = { };
      example = {
        policy.require_encrypted = true;
      };
      description = "Keys of latchkey.toml(5), laid over what the other options say. Not for secrets: the file is in the store.";
    };

    remote = {
      enable = option {
        type = types.bool;
        default = false;
        example = true;
        description = ''
          Answers over SSH: turns on `boot.initrd.network.ssh` and lets its sessions run `latchkey answer` and nothing else.
          Keys and host keys are set there.
        '';
      };
      start = option {
        type = types.enum [
          "fallback"
          "always"
        ];
        default = "fallback";
        example = "always";
        description = "From when on answers are tried: from the question on, or from the start. The server listens from the start.";
      };
      restrict = option {
        type = types.bool;
        default = true;
        example = false;
        description = "Sessions may do nothing but answer: no shell, no forwarding. Without it, run `latchkey answer` by hand.";
      };
    };

    stage2.enable = option {
      type = types.bool;
      default = true;
      example = false;
      description = "Serves bcachefs file systems that are mounted after the initrd as well. Otherwise they stay with the stock module.";
    };

    blankRoot = {
      enable = option {
        type = types.bool;
        default = false;
        example = true;
        description = ''
          A new root at each boot: the subvolume on `/` is moved to the archive and a writable snapshot of the blank one takes
          its place. Never while the machine resumes from hibernation. If it fails, the boot goes on with the old root.
        '';
      };
      subvolume = option {
        type = types.nullOr insidePath;
        default = config.boot.initrd.latchkey.resolved.rootSubdirectory;
        defaultText = lib.literalMD "what `X-mount.subdir=` of `fileSystems.\"/\"` names";
        example = "root";
        description = "The root's subvolume: what is mounted on `/`.";
      };
      blank = option {
        type = insidePath;
        default = "blank";
        example = "snapshots/blank";
        description = "The snapshot that each new root is made of. Where there is none the root is left as it is.";
      };
      archive = option {
        type = insidePath;
        default = "old-roots";
        example = "snapshots/roots";
        description = "The folder that old roots are moved to, under the time of the boot that replaced them.";
      };
      keep = option {
        type = types.ints.unsigned;
        default = 10;
        example = 3;
        description = "So many old roots are kept at most.";
      };
      keepDays = option {
        type = types.ints.positive;
        default = 30;
        example = 7;
        description = "Old roots are kept for so many days at most; the newest one stays whatever its age.";
      };
    };

    # What the other files make of the options, for tests and for other modules.
    resolved = lib.mkOption {
      type = types.raw;
      internal = true;
      description = "File systems and volumes as they are served.";
    };
  };

  config.boot.initrd.latchkey.resolved = import ./resolve.nix { inherit config lib utils; };
}
