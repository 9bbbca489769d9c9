import { isJsonObject, type JsonObject, member } from "../../jose/json.ts";
import type { BlockReader } from "../../system/block-devices.ts";
import { LatchkeyError } from "../../system/errors.ts";

/** `LUKS`, 0xba, 0xbe, at the start of a device (LUKS2 On-Disk Format 1.1.2, section 2.1; LUKS1 has the same). */
const MAGIC = Uint8Array.of(0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe);
const VERSION_AT = 6;

/** Which LUKS a device holds; undefined where it holds none. */
export async function luksVersion(reader: BlockReader): Promise<number | undefined> {
  const head = await reader.readAt(0, VERSION_AT + 2);
  if (head.length < VERSION_AT + 2 || !MAGIC.every((byte, index) => head[index] === byte)) return undefined;
  return ((head[VERSION_AT] ?? 0) << 8) | (head[VERSION_AT + 1] ?? 0);
}

/** LUKS2_KEYSLOTS_MAX and LUKS2_TOKENS_MAX of cryptsetup. */
const MAX_SLOTS = 32;
const MAX_TOKENS = 32;
/** Slot 0 is where installers put the passphrase: people and scripts take it for that. */
const FIRST_SLOT = 1;

/** What the header says in clear, as far as an enrolment needs it. */
export interface Luks2Metadata {
  readonly slots: ReadonlySet<number>;
  readonly tokens: ReadonlyMap<number, JsonObject>;
}

/** @param text what `cryptsetup luksDump --dump-json-metadata` prints */
export function parseMetadata(text: string, device: string): Luks2Metadata {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw strange(device, cause);
  }
  if (!isJsonObject(json)) throw strange(device);
  const [slots, tokens] = [member(json, "keyslots"), member(json, "tokens")];
  if (!isJsonObject(slots) || !isJsonObject(tokens)) throw strange(device);
  return {
    slots: new Set(Object.keys(slots).map(Number)),
    tokens: new Map(
      Object.entries(tokens).flatMap(([id, token]) => (isJsonObject(token) ? [[Number(id), token]] : [])),
    ),
  };
}

/** @throws LatchkeyError luks/full */
export function freeSlot({ slots }: Luks2Metadata, device: string): number {
  return firstFree(FIRST_SLOT, MAX_SLOTS, (slot) => slots.has(slot), `${device}: no key slot is free`);
}

/** @throws LatchkeyError luks/full */
export function freeToken({ tokens }: Luks2Metadata, device: string): number {
  return firstFree(0, MAX_TOKENS, (id) => tokens.has(id), `${device}: the header has no room for another token`);
}

function firstFree(from: number, end: number, isTaken: (number: number) => boolean, message: string): number {
  for (let number = from; number < end; number += 1) if (!isTaken(number)) return number;
  throw new LatchkeyError("luks/full", message, {
    hint: "`cryptsetup luksDump` lists what is in the header; take out what is no longer needed first",
  });
}

/** Tokens of a type, with the key slots they open. */
export function tokensOfType(
  { tokens }: Luks2Metadata,
  type: string,
): readonly { readonly id: number; readonly slots: readonly number[]; readonly json: JsonObject }[] {
  return [...tokens].flatMap(([id, json]) => {
    if (member(json, "type") !== type) return [];
    const slots = member(json, "keyslots");
    return [{ id, slots: Array.isArray(slots) ? slots.map(Number) : [], json }];
  });
}

function strange(device: string, cause?: unknown): LatchkeyError {
  return new LatchkeyError(
    "luks/tool-failed",
    `${device}: what cryptsetup prints of the header is not what it should be`,
    {
      cause,
    },
  );
}
