import type { Crypttab } from "../../config/crypttab.ts";
import type { CrypttabReader } from "../../config/crypttab-options.ts";
import type { KeyFilePlan, LeftToSystem, UsbPlan, VaultPlan, VolumePlan } from "../../config/plan.ts";
import type { Problem } from "../../config/problems.ts";
import type { Readiness } from "../../sources/clevis/readiness.ts";
import type { StackName } from "../../stacks/stack.ts";
import type { LatchkeyError } from "../../system/errors.ts";

/** What was looked at, or why that was not possible. */
export type Gathered<T> = { readonly value: T } | { readonly error: LatchkeyError };

/** All that a check is made of. Nothing of it is a secret. */
export interface CheckFacts {
  readonly configuration: ConfigurationFacts;
  /** Absent where there is none. */
  readonly crypttab?: Gathered<Crypttab>;
  readonly leftToSystem: readonly LeftToSystem[];
  /** Keyscripts that crypttab names and that are not there to be run, by path. */
  readonly missingKeyscripts: readonly string[];
  readonly readers: ReaderFacts;
  readonly volumes: readonly VolumeFacts[];
  /** What lies below the root filesystem that runs now; absent where that cannot be told. */
  readonly root?: RootFacts;
  /** Absent where they were not to be looked at. */
  readonly images?: Gathered<ImageFacts>;
  /** Absent where nobody answers from afar. */
  readonly remote?: Gathered<RemoteFacts>;
}

export interface ConfigurationFacts {
  readonly file: string;
  readonly isThere: boolean;
  /** False: the kernel command line turned latchkey off. */
  readonly isEnabled: boolean;
  readonly problems: readonly Problem[];
}

/** Who reads crypttab on this machine, by what builds its initrds. */
export interface ReaderFacts {
  readonly readers: readonly CrypttabReader[];
  /** In the initramfs of initramfs-tools latchkey opens what it serves by itself. */
  readonly latchkeyOpens: boolean;
}

export interface RootFacts {
  /** Block devices by their names in /sys/class/block, from the mounted one down. */
  readonly devices: ReadonlySet<string>;
  /** Those of them that are LUKS mappings. */
  readonly mappings: readonly { readonly name: string; readonly uuid: string }[];
}

export interface VolumeFacts {
  readonly volume: VolumePlan;
  readonly found: Gathered<FoundFacts>;
  readonly notes: readonly string[];
  readonly sources: readonly SourceFacts[];
}

export interface FoundFacts {
  readonly state: "closed" | "open" | "unencrypted" | "unprotected";
  readonly description: string;
  /** As its header says; empty where there is none. */
  readonly uuid: string;
  readonly devices: readonly string[];
  /** Octets that one try of a passphrase takes. */
  readonly proofMemory: number | undefined;
  /** Octets that the machine has. */
  readonly memoryThere: number;
}

export type SourceFacts =
  | { readonly kind: "prompt" | "remote" }
  | { readonly kind: "clevis"; readonly tokens: Gathered<readonly TokenState[]> }
  | { readonly kind: "usb"; readonly plan: UsbPlan; readonly seen: Gathered<SeenDevice | undefined> }
  | { readonly kind: "keyfile"; readonly plan: KeyFilePlan; readonly file: Gathered<KeyFileState> }
  | { readonly kind: "vault"; readonly plan: VaultPlan };

export interface TokenState {
  /** The file, or the place in the header. */
  readonly origin: string;
  readonly readiness: Gathered<Readiness>;
}

/** The device that has a stick's UUID now. */
export interface SeenDevice {
  readonly path: string;
  readonly isRemovable: boolean;
  /** Is the key on it the configured one? Absent where that was not looked at: only root may, and only on a stick. */
  readonly key?: Gathered<"right">;
}

export interface KeyFileState {
  readonly isThere: boolean;
  /** Others than its owner may read it. */
  readonly isOpenToOthers: boolean;
}

export interface ImageFacts {
  /** What builds initrds here; several only where it cannot be told which of them counts. */
  readonly stacks: readonly StackName[];
  readonly isNixos: boolean;
  /** The newest kernel first. */
  readonly images: readonly KernelImage[];
}

export interface KernelImage {
  readonly kernel: string;
  readonly image: string | undefined;
  readonly content: Gathered<ImageContent> | undefined;
}

export type ImageContent =
  | {
      readonly by: "looking";
      readonly findings: readonly { level: "ok" | "note" | "failure"; text: string }[];
      /** What tells this image which volumes to open: its crypttab, and its kernel command line besides the machine's. */
      readonly namesVolumes: string;
    }
  /** It could not be unpacked: only the time tells. */
  | { readonly by: "time"; readonly why: string; readonly newer: readonly string[] };

export interface RemoteFacts {
  readonly server: string;
  readonly port: number;
  readonly hostKeys: readonly HostKeyState[];
  /** The file that says who may log in; undefined where there is none. */
  readonly keysFile: string | undefined;
  readonly keys: number;
  /** What of that file counts for nothing, each with its line. */
  readonly warnings: readonly string[];
}

export type HostKeyState =
  | { readonly file: string; readonly fingerprint: string }
  | { readonly file: string; readonly missing: string };
