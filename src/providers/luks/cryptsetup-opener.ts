import { access } from "node:fs/promises";
import type { Clock } from "../../system/clock.ts";
import { LatchkeyError } from "../../system/errors.ts";
import type { OpenedVolume } from "../provider.ts";
import type { LuksTool, OpeningKey, OpenRequest } from "./luks-tool.ts";
import type { MappingOpener, MappingRequest, ProvenKey } from "./opener.ts";

/** Milliseconds in which udev makes the node of a mapping; it takes some tenths of a second under emulation. */
export const NODE_LIMIT = 10_000;
/** Milliseconds between two looks for it. */
const LOOK_EVERY = 50;

export interface CryptsetupOpenerParts {
  readonly tool: LuksTool;
  readonly mappings: { find(uuid: string): Promise<string | undefined> };
  readonly clock: Clock;
  /** Is there a node of that name below /dev/mapper? */
  readonly hasNode?: (mapping: string) => Promise<boolean>;
}

/** Makes the mapping with `cryptsetup open`. */
export class CryptsetupOpener implements MappingOpener {
  readonly #parts: CryptsetupOpenerParts;

  constructor(parts: CryptsetupOpenerParts) {
    this.#parts = parts;
  }

  /** @throws LatchkeyError luks/name-taken, luks/mapping-missing, and as LuksTool.open */
  async open(request: MappingRequest, key: ProvenKey, signal: AbortSignal): Promise<OpenedVolume> {
    const { tool, mappings } = this.#parts;
    const { name, uuid } = request;
    const order = openRequest(request);
    if (!(await tool.open(order, openingKey(key)))) {
      // Somebody was faster: the system's own question, perhaps. What another has opened is not ours to close.
      if ((await mappings.find(uuid)) === name) return { close: () => Promise.resolve() };
      throw new LatchkeyError("luks/name-taken", `${name}: there is another mapping of this name`);
    }
    const close = () => tool.close(order, name);
    try {
      await this.#waitForNode(name, signal);
    } catch (thrown) {
      await close();
      throw thrown;
    }
    return { close };
  }

  /** Whoever mounts it waits for udev's link, and would wait for ever for one that does not come. */
  async #waitForNode(name: string, signal: AbortSignal): Promise<void> {
    const { clock, hasNode = isBelowMapper } = this.#parts;
    const end = clock.now() + NODE_LIMIT;
    while (!(await hasNode(name))) {
      if (signal.aborted) throw new LatchkeyError("unlock/interrupted", `${name}: interrupted before it was opened`);
      if (clock.now() >= end) {
        throw new LatchkeyError(
          "luks/mapping-missing",
          `${name}: cryptsetup opened it, and /dev/mapper/${name} did not appear within ${NODE_LIMIT / 1000} s`,
          { hint: "is udev running, with the rules of dmsetup?" },
        );
      }
      await clock.sleep(LOOK_EVERY, signal);
    }
  }
}

function openingKey({ passphrase, volumeKey }: ProvenKey): OpeningKey {
  return volumeKey === undefined ? { passphrase } : { volumeKey };
}

function openRequest({ name, device, settings }: MappingRequest): OpenRequest {
  const { allowDiscards, readOnly, openOptions, header, keySlot } = settings;
  return {
    volume: name,
    mapping: name,
    device,
    header,
    slot: keySlot,
    options: [...(allowDiscards ? ["--allow-discards"] : []), ...(readOnly ? ["--readonly"] : []), ...openOptions],
  };
}

async function isBelowMapper(mapping: string): Promise<boolean> {
  return await access(`/dev/mapper/${mapping}`).then(
    () => true,
    () => false,
  );
}
