import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { JsonObject } from "../../../../src/jose/json.ts";

const folder = join(import.meta.dir, "../../../fixtures/luks");

/** The header that cryptsetup made, fresh for each caller; test/fixtures/luks/README.md says how. */
export function headerBytes(name: "argon2id" | "detached" | "luks1" | "pbkdf2" | "reencrypt"): Uint8Array {
  return Uint8Array.from(Bun.zstdDecompressSync(readFileSync(join(folder, `${name}.hdr.zst`))));
}

export const uuidOf = {
  luks1: "4c554b53-0001-4000-8000-000000000001",
  pbkdf2: "4c554b53-0001-4000-8000-000000000002",
  argon2id: "4c554b53-0001-4000-8000-000000000003",
  detached: "4c554b53-0001-4000-8000-000000000004",
  reencrypt: "4c554b53-0001-4000-8000-000000000005",
} as const;

const BINARY = 4096;
const CHECKSUM_AT = 448;

/** A copy of a LUKS2 header with other contents and a checksum that holds; @param size of one copy */
export function edited(
  bytes: Uint8Array,
  change: {
    readonly json?: (json: JsonObject) => unknown;
    readonly text?: string;
    readonly binary?: (view: DataView) => void;
  },
  copies: readonly number[] = [0, 1],
  size = 0x4000,
): Uint8Array {
  const result = bytes.slice();
  for (const copy of copies) {
    const at = copy * size;
    const area = result.subarray(at + BINARY, at + size);
    if (change.json || change.text !== undefined) {
      const old = new TextDecoder().decode(area.subarray(0, area.indexOf(0)));
      const text = change.text ?? JSON.stringify(change.json?.(JSON.parse(old)));
      area.fill(0);
      area.set(new TextEncoder().encode(text).subarray(0, area.length));
    }
    const binary = result.subarray(at, at + BINARY);
    change.binary?.(new DataView(binary.buffer, binary.byteOffset, BINARY));
    binary.fill(0, CHECKSUM_AT, CHECKSUM_AT + 64);
    binary.set(
      createHash("sha256")
        .update(result.subarray(at, at + size))
        .digest(),
      CHECKSUM_AT,
    );
  }
  return result;
}

/** The header with the cost of one key slot changed. @param kibibytes as the header counts */
export function withArgon2Memory(bytes: Uint8Array, slot: number, kibibytes: number): Uint8Array {
  return edited(bytes, {
    json: (json) => {
      const slots = json["keyslots"] as Record<string, { kdf: Record<string, unknown> }>;
      const kdf = slots[String(slot)]?.kdf;
      if (kdf) kdf["memory"] = kibibytes;
      return json;
    },
  });
}
