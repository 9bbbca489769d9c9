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
  | {
      readonly kind: "clevis";
      /** The token's file; where none is named, /etc/latchkey/NAME.jwe. */
      readonly token?: string;
      /** A PEM file: https servers must have a certificate by an authority in it. */
      readonly authority?: string;
      /** Milliseconds until the source gives up; servers that do not answer are tried again until then. */
      readonly timeout: number;
    };

/**
 * `stated`: somebody wrote down that the devices hold this kind, so anything else there is an error.
 * `if-bcachefs`: a bare `root=` without `rootfstype=`; when the device holds no bcachefs, or does not come in time, latchkey
 * has nothing to do there and says so without failing: the system mounts it, as it would without us.
 */
export type Certainty = "stated" | "if-bcachefs";

/** What only LUKS has: from crypttab's options, `rd.luks.*`, or the table `volumes.NAME.luks`. */
export interface LuksPlan {
  /** A detached header: a file or a device. */
  readonly header?: string;
  /** Only this key slot is tried. */
  readonly keySlot?: number;
  readonly allowDiscards: boolean;
  readonly readOnly: boolean;
  /** Options of cryptsetup open for the mapping that change no key: `--perf-no_read_workqueue` and the like. */
  readonly openOptions: readonly string[];
  /**
   * Who makes the mapping. `systemd`: systemd-cryptsetup@NAME.service does, and asks latchkey for the key at the socket
   * /run/cryptsetup-keys.d/NAME.key. `latchkey`: nobody else is about to.
   */
  readonly opener: "systemd" | "latchkey";
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
  /**
   * When it turns up unencrypted it is refused. True for what the configuration names, unless the policy says otherwise;
   * false for what latchkey found by itself, or installing it would stop every machine whose bcachefs is not encrypted.
   */
  readonly requireEncrypted: boolean;
  /** Present for kind `luks`. */
  readonly luks?: LuksPlan;
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

export interface Plan {
  /** `rd.latchkey=0` turns everything off. */
  readonly enabled: boolean;
  readonly debug: boolean;
  /** Milliseconds from the start to the question at the latest, while automatic sources still run. */
  readonly promptAfter: number;
  /** Milliseconds to wait for the first device of a volume. */
  readonly deviceTimeout: number;
  /** Milliseconds to wait for the other members once one is there. */
  readonly memberTimeout: number;
  readonly policy: PolicyPlan;
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
