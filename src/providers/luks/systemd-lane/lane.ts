import { scrubSocketBuffers } from "../../../system/ask-password/scrub.ts";
import type { Clock } from "../../../system/clock.ts";
import { LatchkeyError } from "../../../system/errors.ts";
import type { SecretBytes } from "../../../system/secret-bytes.ts";
import type { StreamConnection } from "../../../system/unix-stream.ts";
import type { OpenedVolume } from "../../provider.ts";
import type { MappingOpener, MappingRequest, ProvenKey } from "../opener.ts";
import type { CryptsetupUnits } from "./cryptsetup-unit.ts";
import type { KeySockets } from "./key-sockets.ts";

/** Milliseconds in which systemd-cryptsetup has to ask for the key once it is proven; it starts as soon as the device is there. */
export const ASK_LIMIT = 30_000;

/** Milliseconds in which it has to take the key off the socket: what is longer than the socket's buffer goes in pieces. */
export const SEND_LIMIT = 10_000;

/** Milliseconds from the key to the mapping. Deriving with Argon2 takes two seconds, and more where memory is short. */
export const MAPPING_LIMIT = 90_000;

/** Milliseconds in which a mapping has to go when systemd was asked to close it. */
export const CLOSE_LIMIT = 15_000;

/** Milliseconds between two looks for a mapping: sysfs gives no notice. */
const LOOK_EVERY = 100;

/** The mappings there are now; tests bring their own. */
export interface Mappings {
  /** The name of the active mapping of the volume with this LUKS UUID. */
  find(uuid: string): Promise<string | undefined>;
}

export interface LaneParts {
  readonly sockets: KeySockets;
  readonly mappings: Mappings;
  readonly units: CryptsetupUnits;
  /** Is there a process with this number? */
  isRunning(pid: number): boolean;
  /** For volumes that systemd does not ask for, or fails to open. */
  readonly otherwise: MappingOpener;
  readonly clock: Clock;
  readonly note: (text: string, volume: string) => void;
}

/**
 * Opens by handing the key to systemd-cryptsetup, which has the job of making the mapping and knows all of crypttab's
 * options. Only a key that is proven: systemd-cryptsetup takes one from a socket once, and asks by itself from then on.
 */
export class SystemdLane implements MappingOpener {
  readonly #parts: LaneParts;

  constructor(parts: LaneParts) {
    this.#parts = parts;
  }

  async open(request: MappingRequest, key: ProvenKey, signal: AbortSignal): Promise<OpenedVolume> {
    const { sockets, otherwise, note } = this.#parts;
    const { name } = request;
    if (sockets.servesVolume(name)) {
      const problem = await this.#throughSystemd(request, key.passphrase, signal);
      if (signal.aborted) throw new LatchkeyError("unlock/interrupted", `${name}: interrupted before it was opened`);
      if (problem === undefined) return { close: () => this.#close(request) };
      note(`${problem}: latchkey opens it itself`, name);
    }
    return await otherwise.open(request, key, signal);
  }

  /** @returns why the mapping did not come; undefined when it is there */
  async #throughSystemd(
    request: MappingRequest,
    secret: SecretBytes,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { sockets, mappings, isRunning } = this.#parts;
    using asker = await sockets.takeAsker(request.name, ASK_LIMIT, signal);
    if (!asker) return "systemd-cryptsetup did not ask for the key";
    try {
      if (!(await this.#handOver(secret, asker, signal))) return "systemd-cryptsetup did not take the key";
      asker[Symbol.dispose](); // the end of file after which systemd-cryptsetup goes to work
      const isOpen = async () => (await mappings.find(request.uuid)) !== undefined;
      const hasEnded = () => !isRunning(asker.peer.pid);
      await this.#wait(MAPPING_LIMIT, signal, async () => hasEnded() || (await isOpen()));
      return (await isOpen()) ? undefined : "systemd-cryptsetup has the key and did not make the mapping";
    } finally {
      // Not before: until it is read, the key lies in a buffer that is in use.
      scrubSocketBuffers(secret.length);
    }
  }

  async #handOver(secret: SecretBytes, asker: StreamConnection, signal: AbortSignal): Promise<boolean> {
    let sent = 0;
    try {
      return await this.#wait(SEND_LIMIT, signal, async () => {
        sent += asker.send(secret, sent);
        return sent === secret.length;
      });
    } catch {
      return false; // it is gone
    }
  }

  /** What systemd has opened, systemd has to close, or it would take the volume for open and never ask for it again. */
  async #close({ name, uuid }: MappingRequest): Promise<void> {
    await this.#parts.units.restart(name);
    const gone = async () => (await this.#parts.mappings.find(uuid)) === undefined;
    if (await this.#wait(CLOSE_LIMIT, new AbortController().signal, gone)) return;
    throw new LatchkeyError("luks/tool-failed", `${name}: systemd-cryptsetup did not close it again`);
  }

  async #wait(limit: number, signal: AbortSignal, condition: () => Promise<boolean>): Promise<boolean> {
    const { clock } = this.#parts;
    const end = clock.now() + limit;
    for (;;) {
      if (await condition()) return true;
      if (signal.aborted || clock.now() >= end) return false;
      await clock.sleep(LOOK_EVERY, signal);
    }
  }
}
