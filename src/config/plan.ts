import type { DeviceReference, DeviceTag } from "../system/device-names.ts";

export type { DeviceReference, DeviceTag };

/** What the configuration, the kernel command line, crypttab and fstab say, as one typed plan. Parsed once, trusted inside. */

export type VolumeKind = "bcachefs" | "luks" | "zfs" | "zerofs";
export type SourceKind = "clevis" | "usb" | "keyfile" | "prompt" | "remote" | "vault";

/** Where a statement of the plan was read, for messages: file and line, or the kernel command line. */
export interface Origin {
  readonly file: string;
  readonly line?: number;
}

/** A way to get a credential, with the settings of that way. A source that joins adds its own variant. */
export type SourcePlan =
  | { readonly kind: "prompt" }
  | { readonly kind: "remote" }
  | {
      readonly kind: "clevis";
      /** The token's file; where none is named, /etc/latchkey/NAME.jwe. */
      readonly token?: string;
      /** A PEM file: https servers must have a certificate by an authority in it. */
      readonly authority?: string;
      /** Milliseconds until the source gives up; servers that do not answer are tried again until then. */
      readonly timeout: number;
      /**
       * The tokens lie in the LUKS2 header. `if-any`: nobody asked for it, so a header without tokens is no failure.
       */
      readonly inHeader?: "required" | "if-any";
    }
  | UsbPlan
  | KeyFilePlan
  | VaultPlan;

/** How the bytes of a key file become the key; src/sources/key-format.ts has the rules. */
export type KeyFormat = "raw" | "hex" | "text";

/** A key on a stick: which one, where on it, and what the key must be. */
export interface UsbPlan {
  readonly kind: "usb";
  readonly place:
    | { readonly by: "filesystem"; readonly uuid: string; readonly path: string }
    /** On the bare partition; in bytes. */
    | { readonly by: "partition"; readonly partuuid: string; readonly offset: number; readonly size: number };
  /** Over the bytes read, before `format` is applied: 64 hexadecimal digits in lower case. */
  readonly sha256: string;
  /** Where nothing is said it depends on what the key is for. */
  readonly format?: KeyFormat;
  /** A disk that is neither removable nor on a USB bus will do, too. */
  readonly anyBus: boolean;
  /** Milliseconds until the stick counts as absent; it is waited for all the same. */
  readonly timeout: number;
}

/** A key file in the initrd. */
export interface KeyFilePlan {
  readonly kind: "keyfile";
  readonly path: string;
  readonly format?: KeyFormat;
}

/** A key file on another volume, which is opened before. */
export interface VaultPlan {
  readonly kind: "vault";
  readonly volume: string;
  readonly path: string;
  readonly sha256: string;
  readonly format?: KeyFormat;
  /** Milliseconds until the volume counts as not open; it is waited for all the same. */
  readonly timeout: number;
  /** Whether the volume is closed again when nothing waits for a key of it; where nothing is said, one on a stick is. */
  readonly close?: boolean;
}

/**
 * `stated`: somebody wrote down that the devices hold this kind, so anything else there is an error.
 * `if-bcachefs`: a bare `root=` without `rootfstype=`; when the device holds no bcachefs, or does not come in time, latchkey
 * has nothing to do there and says so without failing: the system mounts it, as it would without us.
 */
export type Certainty = "stated" | "if-bcachefs";

/** What is said of a LUKS volume in crypttab's options, `rd.luks.*`, or the table `volumes.NAME.luks`; nothing is required. */
export interface LuksSettings {
  /** A detached header: the path of a file or device, or a tag as in fstab (`UUID=…`). */
  readonly header?: string;
  /** What the header's UUID has to be, where the device is not named by it. */
  readonly uuid?: string;
  /** Only this key slot is tried. */
  readonly keySlot?: number;
  readonly allowDiscards?: boolean;
  readonly readOnly?: boolean;
  /** Options of cryptsetup open for the mapping that change no key: `--perf-no_read_workqueue` and the like. */
  readonly openOptions?: readonly string[];
  /** Wrong answers to a question until nobody is asked any longer; without limit where nothing is said. */
  readonly tries?: number;
  /** Octets of a key file that are skipped, and how many count: for a source that reads one. */
  readonly keyFileOffset?: number;
  readonly keyFileSize?: number;
  /** Milliseconds to wait for the device, instead of the plan's. */
  readonly deviceTimeout?: number;
  /** The device comes over the network (`_netdev`). */
  readonly needsNetwork?: boolean;
  /** A boot goes on without it (`nofail`). */
  readonly mayFail?: boolean;
  /** crypttab says that an initrd is to have it (`x-initrd.attach`, `initramfs`). */
  readonly isWantedInInitrd?: boolean;
}

/** What only LUKS has, all of it decided. */
export interface LuksPlan extends LuksSettings {
  readonly allowDiscards: boolean;
  readonly readOnly: boolean;
  readonly openOptions: readonly string[];
  /**
   * Who makes the mapping. `systemd`: systemd-cryptsetup@NAME.service does, and asks latchkey for the key at the socket
   * /run/cryptsetup-keys.d/NAME.key. `latchkey`: nobody else is about to.
   */
  readonly opener: "systemd" | "latchkey";
  /** crypttab or the kernel command line names it. */
  readonly isNamedBySystem?: true;
  /** The mapping's name, where it is not the volume's. */
  readonly mapping?: string;
  /** Nobody gave the mapping a name: then it is `luks-UUID`, as systemd and udisks name it. */
  readonly isUnnamed?: true;
}

export interface VolumePlan {
  readonly name: string;
  readonly kind: VolumeKind;
  readonly certainty: Certainty;
  /** The members as named; one UUID= is enough to find all members of a bcachefs. */
  readonly devices: readonly DeviceReference[];
  /** In order of preference; all of them race. */
  readonly sources: readonly SourcePlan[];
  /** This volume holds the root filesystem that the initrd is about to mount. */
  readonly isRoot: boolean;
  /** The system's own files want it open before the initrd hands over: fstab, crypttab, `rd.luks.*`; not with `nofail`. */
  readonly isForInitrd?: boolean;
  /**
   * When it turns up unencrypted it is refused. True for what the configuration names, unless the policy says otherwise;
   * false for what latchkey found by itself, or installing it would stop every machine whose bcachefs is not encrypted.
   */
  readonly requireEncrypted: boolean;
  /** Present for kind `luks`. */
  readonly luks?: LuksPlan;
  /** Not opened at boot but when somebody asks for it by its name: crypttab's `noauto`. */
  readonly isOnDemand?: true;
  readonly origin: Origin;
}

export interface PoolPlan {
  readonly name: string;
  readonly volumes: readonly string[];
  readonly origin: Origin;
}

/** Something encrypted that this version does not open: the system's own way does, as it would without latchkey. */
export interface LeftToSystem {
  readonly name: string;
  readonly reason: string;
  readonly origin: Origin;
}

/** How the root filesystem is to be mounted, where latchkey has to do it itself (several members and no mount helper). */
export interface RootMountPlan {
  /** For the kernel: without `ro` and `rw`, and without what only mount(8) and systemd understand. */
  readonly options: readonly string[];
  readonly readOnly: boolean;
  /** `X-mount.subdir=` of mount(8): the directory of the filesystem that becomes the root. */
  readonly subdirectory?: string;
}

export interface PolicyPlan {
  /** What the policy says, or the default; each volume carries what that means for it. */
  readonly requireEncrypted: boolean;
  /** Go on without missing members once the member limit has passed. */
  readonly allowDegraded: boolean;
  /** The PCR to extend once everything is open, so that tokens bound to it stay shut for the rest of this boot. */
  readonly sealPcrAfterUnlock?: number;
}

/** How a person gets in over SSH: the table `[remote]`, for all volumes that have the source. */
export interface RemotePlan {
  /** `fallback`: the SSH server comes up with the question; `always`: with the boot, and takes answers at once. */
  readonly start: "fallback" | "always";
  readonly server: "auto" | "openssh" | "dropbear";
  /** `dhcp`, or what a kernel parameter `ip=` says; one on the kernel command line wins. */
  readonly network: string;
  readonly port: number;
}

export interface Plan {
  /** `rd.latchkey=0` turns everything off. */
  readonly enabled: boolean;
  readonly debug: boolean;
  /** Milliseconds from the start to the question at the latest, while automatic sources still run. */
  readonly promptAfter: number;
  /** Milliseconds to wait for the first device of a volume. */
  readonly deviceTimeout: number;
  /** The same for a volume that is only guessed (`if-bcachefs`), where that is to be another. */
  readonly guessTimeout?: number;
  /** Milliseconds to wait for the other members once one is there. */
  readonly memberTimeout: number;
  readonly policy: PolicyPlan;
  /** Present when there is a table `[remote]`, or a volume has that source. */
  readonly remote?: RemotePlan;
  /** The TPM as a TCTI string; where none is named, the first /dev/tpmrm?. TPM2TOOLS_TCTI in the environment wins. */
  readonly tpm?: string;
  readonly volumes: readonly VolumePlan[];
  readonly pools: readonly PoolPlan[];
  /** What crypttab and the configuration name and this version cannot open. */
  readonly leftToSystem: readonly LeftToSystem[];
  /** Present when a volume holds the root filesystem. */
  readonly rootMount?: RootMountPlan;
  /** Things that were left out or ignored, each one line with its origin: warnings at boot, errors in `check`. */
  readonly warnings: readonly string[];
}
