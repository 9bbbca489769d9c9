import { isJsonObject, type JsonObject, member, parseJsonObject } from "../../jose/json.ts";
import { asLatchkeyError } from "../../system/errors.ts";
import { printable } from "../../system/on-disk.ts";
import {
  damagedHeader,
  type HeaderToken,
  type KeySlot,
  type LuksHeader,
  type Segment,
  type SlotKdf,
} from "./header.ts";

/** LUKS2_KEYSLOTS_MAX, LUKS2_TOKENS_MAX and LUKS2_SEGMENT_MAX of cryptsetup. */
const MAX_OBJECTS = 32;
/** Longer than any name of a cipher, hash or token type. */
const MAX_NAME = 64;
const MAX_REQUIREMENTS = 32;

type Luks2Json = Pick<LuksHeader, "slots" | "segments" | "tokens" | "requirements">;

/**
 * The JSON area of LUKS2 On-Disk Format Specification 1.1.2, section 3, as far as it says what opening takes. Its checksum
 * holds by now, so what is odd was written so: what is not understood is left to cryptsetup.
 * @throws LatchkeyError luks/header-damaged
 */
export function parseLuks2Json(bytes: Uint8Array): Luks2Json {
  let json: JsonObject;
  try {
    json = parseJsonObject(bytes, "the metadata of its LUKS2 header");
  } catch (thrown) {
    throw damagedHeader(asLatchkeyError(thrown).message);
  }
  const config = member(json, "config");
  return {
    slots: objects(json, "keyslots").flatMap(({ id, object }) => readSlot(id, object)),
    segments: objects(json, "segments").map(({ id, object }) => readSegment(id, object)),
    tokens: objects(json, "tokens").map(({ id, object }) => readToken(id, object)),
    requirements: isJsonObject(config) ? readRequirements(config) : [],
  };
}

/** The numbered objects of one section, in order. */
function objects(json: JsonObject, section: string): readonly { readonly id: number; readonly object: JsonObject }[] {
  const value = member(json, section);
  if (!isJsonObject(value)) throw damagedHeader(`the metadata of its LUKS2 header has no ${section}`);
  const entries = Object.entries(value);
  if (entries.length > MAX_OBJECTS) throw damagedHeader(`its LUKS2 header has more than ${MAX_OBJECTS} ${section}`);
  return entries
    .map(([name, object]) => {
      if (!/^\d{1,9}$/.test(name) || !isJsonObject(object)) {
        throw damagedHeader(`the ${section} of its LUKS2 header are not what they should be`);
      }
      return { id: Number(name), object };
    })
    .sort((one, other) => one.id - other.id);
}

function readSlot(id: number, object: JsonObject): readonly KeySlot[] {
  // `reencrypt` holds no key.
  if (nameIn(object, "type") !== "luks2") return [];
  const area = objectIn(object, "area");
  const priority = member(object, "priority");
  return [
    {
      id,
      kdf: readKdf(objectIn(object, "kdf")),
      priority: priority === 0 ? "ignore" : priority === 2 ? "prefer" : "normal",
      cipher: nameIn(area, "encryption"),
      keyBits: 8 * (countIn(object, "key_size") ?? 0),
    },
  ];
}

function readKdf(kdf: JsonObject): SlotKdf {
  const name = nameIn(kdf, "type");
  if (name === "pbkdf2") {
    const iterations = countIn(kdf, "iterations");
    if (iterations !== undefined) return { kind: "pbkdf2", hash: nameIn(kdf, "hash"), iterations };
  }
  if (name === "argon2i" || name === "argon2id") {
    const [memory, iterations, parallelism] = [countIn(kdf, "memory"), countIn(kdf, "time"), countIn(kdf, "cpus")];
    if (memory !== undefined && iterations !== undefined && parallelism !== undefined) {
      return { kind: name, memoryBytes: memory * 1024, iterations, parallelism };
    }
  }
  return { kind: "other", name };
}

function readSegment(id: number, object: JsonObject): Segment {
  const integrity = member(object, "integrity");
  return {
    id,
    type: nameIn(object, "type"),
    cipher: nameIn(object, "encryption"),
    sectorSize: countIn(object, "sector_size") ?? 512,
    integrity: isJsonObject(integrity) ? nameIn(integrity, "type") : null,
  };
}

function readToken(id: number, json: JsonObject): HeaderToken {
  const slots = member(json, "keyslots");
  return {
    id,
    type: nameIn(json, "type"),
    slots: Array.isArray(slots)
      ? slots.slice(0, MAX_OBJECTS).flatMap((slot) => (/^\d{1,2}$/.test(String(slot)) ? [Number(slot)] : []))
      : [],
    json,
  };
}

function readRequirements(config: JsonObject): readonly string[] {
  const mandatory = member(objectIn(config, "requirements"), "mandatory");
  if (!Array.isArray(mandatory)) return [];
  return mandatory.slice(0, MAX_REQUIREMENTS).map((name) => shortName(name));
}

function objectIn(object: JsonObject, name: string): JsonObject {
  const value = member(object, name);
  return isJsonObject(value) ? value : {};
}

/** A name for people; `unknown` where there is none. */
function nameIn(object: JsonObject, name: string): string {
  return shortName(member(object, name));
}

function shortName(value: unknown): string {
  if (typeof value !== "string" || value === "") return "unknown";
  return printable(new TextEncoder().encode(value.slice(0, MAX_NAME)));
}

function countIn(object: JsonObject, name: string): number | undefined {
  const value = member(object, name);
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
