import { LatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import { BAD_PASSPHRASE, type CryptsetupCall, type CryptsetupEnd, keyFile, type RunCryptsetup } from "./cryptsetup.ts";

/** Exit statuses of cryptsetup(8). */
const STATUS = { outOfMemory: 3, wrongDevice: 4, taken: 5 } as const;
/** A shell's way to say that a signal ended a program, and Bun's. */
const KILLED_BY = 128;
const SIGKILL = 9;

/** Where a volume is: what every call of cryptsetup is told of it. */
export interface LuksPlace {
  /** For messages. */
  readonly volume: string;
  readonly device: string;
  /** A detached header. */
  readonly header: string | undefined;
}

export interface ProofRequest extends LuksPlace {
  /** Only this key slot; any, where none is named. */
  readonly slot: number | undefined;
  /** Where the kernel is to keep the volume key (`--link-vk-to-keyring`). */
  readonly linkTo: string | undefined;
}

export interface OpenRequest extends LuksPlace {
  readonly mapping: string;
  readonly slot: number | undefined;
  readonly options: readonly string[];
}

/** A key for opening: the passphrase, or a volume key that the kernel holds. */
export type OpeningKey = { readonly passphrase: SecretBytes } | { readonly volumeKey: string };

/** What cryptsetup does with LUKS volumes for a boot, each end of it told apart. */
export class LuksTool {
  readonly #run: RunCryptsetup;
  #canLink: Promise<boolean> | undefined;

  constructor(run: RunCryptsetup) {
    this.#run = run;
  }

  /** Does this cryptsetup pass volume keys through the kernel's keyrings? Since 2.7. */
  canLinkVolumeKeys(): Promise<boolean> {
    this.#canLink ??= this.#run({ args: ["--help"] }).then(
      ({ output }) => output.includes("--link-vk-to-keyring") && output.includes("--volume-key-keyring"),
    );
    return this.#canLink;
  }

  /**
   * Proves a passphrase without opening.
   * @returns false when it is wrong
   * @throws LatchkeyError luks/out-of-memory, luks/tool-failed, luks/tool-missing, unlock/interrupted
   */
  async prove(request: ProofRequest, passphrase: SecretBytes, signal: AbortSignal): Promise<boolean> {
    const args = [
      ...["open", "--test-passphrase", "--type", "luks", ...place(request), ...slotOf(request)],
      ...(request.linkTo === undefined ? [] : ["--link-vk-to-keyring", request.linkTo]),
      ...["--key-file", keyFile(0), request.device],
    ];
    const end = await this.#interruptible({ args, secrets: [passphrase], signal }, request.volume);
    if (end.status === BAD_PASSPHRASE) return false;
    check(request, "open --test-passphrase", end);
    return true;
  }

  /**
   * Makes the mapping. Nothing cuts it short: it would be half made.
   * @returns false when there is a mapping of that name already
   * @throws LatchkeyError luks/wrong-passphrase, luks/out-of-memory, luks/tool-failed, luks/tool-missing
   */
  async open(request: OpenRequest, key: OpeningKey): Promise<boolean> {
    const args = [
      ...["open", "--type", "luks", ...place(request), ...request.options],
      ...("volumeKey" in key
        ? ["--volume-key-keyring", key.volumeKey]
        : [...slotOf(request), "--key-file", keyFile(0)]),
      ...[request.device, request.mapping],
    ];
    const end = await this.#run({ args, secrets: "passphrase" in key ? [key.passphrase] : [] });
    if (end.status === STATUS.taken) return false;
    if (end.status === BAD_PASSPHRASE) {
      const what = "cryptsetup did not take the key that it had proven right";
      throw new LatchkeyError("luks/wrong-passphrase", `${request.volume}: ${what}`);
    }
    check(request, "open", end);
    return true;
  }

  /** @throws LatchkeyError luks/tool-failed, luks/tool-missing */
  async close(request: LuksPlace, mapping: string): Promise<void> {
    check(request, "close", await this.#run({ args: ["close", mapping] }));
  }

  async #interruptible(call: CryptsetupCall, volume: string): Promise<CryptsetupEnd> {
    try {
      return await this.#run(call);
    } catch (thrown) {
      if (!call.signal?.aborted) throw thrown;
      throw new LatchkeyError("unlock/interrupted", `${volume}: the passphrase is not wanted any longer`);
    }
  }
}

function place({ header }: LuksPlace): readonly string[] {
  return header === undefined ? [] : ["--header", header];
}

function slotOf({ slot }: { readonly slot: number | undefined }): readonly string[] {
  return slot === undefined ? [] : ["--key-slot", String(slot)];
}

function check({ volume, device }: LuksPlace, action: string, { status, complaint }: CryptsetupEnd): void {
  if (status === 0) return;
  const said = complaint === "" ? "" : `: ${complaint}`;
  if (status === STATUS.outOfMemory) {
    const what = `${volume}: cryptsetup had too little memory for the key derivation of ${device}${said}`;
    throw new LatchkeyError("luks/out-of-memory", what, {
      hint: "`cryptsetup luksConvertKey --pbkdf-memory` makes a key slot that takes less",
    });
  }
  const how =
    status > KILLED_BY
      ? `was killed by signal ${status - KILLED_BY}`
      : `${status === STATUS.wrongDevice ? "could not use the device" : "failed"} (status ${status})`;
  const hint = status === KILLED_BY + SIGKILL ? { hint: "the kernel kills it when memory runs out: dmesg tells" } : {};
  throw new LatchkeyError("luks/tool-failed", `${volume}: cryptsetup ${action} on ${device} ${how}${said}`, hint);
}
