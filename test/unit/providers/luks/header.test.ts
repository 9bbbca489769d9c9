import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import type { LuksHeader } from "../../../../src/providers/luks/header.ts";
import { readLuksHeader } from "../../../../src/providers/luks/read-header.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { whyNoLuks } from "../../enroll/scene.ts";
import { MemoryReader } from "../bcachefs/fixtures.ts";
import { edited, headerBytes, uuidOf, withArgon2Memory } from "./fixtures.ts";

setDefaultTimeout(60_000);

const read = (bytes: Uint8Array) => readLuksHeader(new MemoryReader(bytes, "/dev/test"));

async function complaint(bytes: Uint8Array): Promise<string> {
  try {
    await read(bytes);
  } catch (thrown) {
    if (thrown instanceof LatchkeyError) return `${thrown.code}: ${thrown.message}`;
    throw thrown;
  }
  return "none";
}

const cheap = { kind: "pbkdf2", hash: "sha256", iterations: 1000 } as const;
const xts = { cipher: "aes-xts-plain64", keyBits: 512 } as const;

describe("headers that cryptsetup made", () => {
  test("LUKS1", async () => {
    expect(await read(headerBytes("luks1"))).toEqual({
      version: 1,
      uuid: uuidOf.luks1,
      label: "",
      slots: [{ id: 3, kdf: cheap, priority: "normal", ...xts }],
      segments: [{ id: 0, type: "crypt", cipher: "aes-xts-plain64", sectorSize: 512, integrity: null }],
      tokens: [],
      requirements: [],
      copies: [],
      notes: [],
    });
  });

  test("LUKS2 with key slots of all kinds and tokens", async () => {
    const { tokens, ...header } = (await read(headerBytes("argon2id"))) as LuksHeader;
    expect(header).toEqual({
      version: 2,
      uuid: uuidOf.argon2id,
      label: "data",
      slots: [
        {
          id: 0,
          kdf: { kind: "argon2id", memoryBytes: 64 * 1024 * 1024, iterations: 4, parallelism: 2 },
          priority: "normal",
          ...xts,
        },
        { id: 7, kdf: cheap, priority: "prefer", ...xts },
        {
          id: 9,
          kdf: { kind: "argon2i", memoryBytes: 32 * 1024, iterations: 4, parallelism: 1 },
          priority: "ignore",
          ...xts,
        },
      ],
      segments: [{ id: 0, type: "crypt", cipher: "aes-xts-plain64", sectorSize: 4096, integrity: null }],
      requirements: [],
      copies: [
        { offset: 0, sequence: "10", problem: null },
        { offset: 0x4000, sequence: "10", problem: null },
      ],
      notes: [],
    });
    expect(tokens.map(({ id, type, slots }) => [id, type, slots])).toEqual([
      [0, "clevis", [7]],
      [4, "clevis", [9]],
      [5, "other", []],
    ]);
    expect(tokens[0]?.json).toMatchObject({ type: "clevis", jwe: { encrypted_key: "" } });
  });

  test("a detached one", async () => {
    expect(await read(headerBytes("detached"))).toMatchObject({ version: 2, uuid: uuidOf.detached });
  });

  test("one of another size, while the volume is being encrypted anew", async () => {
    const header = await read(headerBytes("reencrypt"));
    expect(header).toMatchObject({ requirements: ["online-reencrypt-v2"], copies: [{}, { offset: 0x10000 }] });
    // The third holds the state of the work and no key.
    expect(header?.slots.map(({ id }) => id)).toEqual([0, 1]);
  });

  test.skipIf(whyNoLuks !== undefined)(
    `what cryptsetup itself prints of it${whyNoLuks ? `: ${whyNoLuks}` : ""}`,
    async () => {
      const directory = mkdtempSync(join(tmpdir(), "latchkey-luks-"));
      try {
        for (const name of ["pbkdf2", "argon2id", "detached", "reencrypt"] as const) {
          const image = join(directory, "disk.img");
          writeFileSync(image, headerBytes(name));
          truncateSync(image, 48 * 1024 * 1024);
          const dumped = Bun.spawnSync(["cryptsetup", "luksDump", "--dump-json-metadata", image]);
          const json = JSON.parse(dumped.stdout.toString());
          const header = await read(headerBytes(name));
          const keys = Object.entries<{ type: string }>(json.keyslots).filter(([, { type }]) => type === "luks2");
          expect(header?.slots.map(({ id }) => String(id))).toEqual(keys.map(([id]) => id));
          expect(header?.tokens.map(({ json: token }) => token)).toEqual(Object.values(json.tokens));
          expect(header?.segments.map(({ cipher }) => cipher)).toEqual(
            Object.values<{ encryption: string }>(json.segments).map(({ encryption }) => encryption),
          );
        }
      } finally {
        rmSync(directory, { recursive: true });
      }
    },
  );
});

/** One byte of it differs. */
function damagedAt(bytes: Uint8Array, offset: number): Uint8Array {
  const copy = bytes.slice();
  copy[offset] = (copy[offset] ?? 0) ^ 0x55;
  return copy;
}

describe("damage", () => {
  const good = headerBytes("pbkdf2");

  test.each([
    ["the binary part of the first copy", damagedAt(good, 100), "first", "its checksum does not hold"],
    ["the metadata of the first copy", damagedAt(good, 4100), "first", "its checksum does not hold"],
    ["the second copy", damagedAt(good, 0x4000 + 4100), "second", "its checksum does not hold"],
    ["the magic of the first copy", damagedAt(good, 0), "first", "there is none"],
    ["the magic of the second copy", damagedAt(good, 0x4000), "second", "there is none"],
  ])("of %s is a note, and the other copy serves", async (_, bytes, which, reason) => {
    const header = await read(bytes);
    expect(header).toMatchObject({ uuid: uuidOf.pbkdf2, slots: [{ id: 0 }] });
    expect(header?.notes).toEqual([`the ${which} copy of its LUKS2 header is damaged: ${reason}`]);
  });

  test("of both copies is named", async () => {
    expect(await complaint(damagedAt(damagedAt(good, 4100), 0x4000 + 4100))).toBe(
      "luks/header-damaged: /dev/test: both copies of its LUKS2 header are damaged: its checksum does not hold; its checksum does not hold",
    );
  });

  test("the newer of two good copies counts", async () => {
    const newer = edited(good, { binary: (view) => view.setBigUint64(16, 2n ** 63n) }, [1]);
    const relabelled = edited(newer, { binary: (view) => view.setUint8(24, 0x78) }, [1]);
    expect(await read(relabelled)).toMatchObject({
      label: "x",
      copies: [{ sequence: "3" }, { sequence: String(2n ** 63n) }],
    });
  });

  test("two copies of two volumes are none", async () => {
    const bytes = edited(good, { binary: (view) => view.setUint8(168, 0x35) }, [1]);
    expect(await complaint(bytes)).toContain("have different UUIDs");
  });

  test.each([
    [
      "a size of no header",
      { binary: (view: DataView) => view.setBigUint64(8, 2n ** 40n) },
      "a size that no LUKS2 header has",
    ],
    ["a size beyond the device", { binary: (view: DataView) => view.setBigUint64(8, 0x400000n) }, "it is cut off"],
    ["another place", { binary: (view: DataView) => view.setBigUint64(256, 512n) }, "it says that it lies elsewhere"],
    ["an unknown checksum", { binary: (view: DataView) => view.setUint8(72, 0x78) }, 'no such checksum "xha256"'],
    ["no UUID", { binary: (view: DataView) => view.setUint8(168, 0) }, "its LUKS header has no UUID"],
  ])("%s", async (_, change, reason) => {
    const bytes = edited(good, change);
    const cut = edited(bytes, change, [1]).subarray(0, 0x4000 + 4096);
    expect(await complaint(cut)).toContain(reason);
  });

  test.each([
    [
      "a later version",
      (bytes: Uint8Array) => bytes.fill(9, 7, 8),
      "its LUKS header has version 9, and latchkey knows 1 and 2",
    ],
    [
      "a key slot of no state",
      (bytes: Uint8Array) => bytes.fill(1, 208, 212),
      "key slot 0 of its LUKS1 header is damaged",
    ],
    ["a UUID that is none", (bytes: Uint8Array) => bytes.fill(0x21, 168, 170), "its LUKS header has no UUID"],
  ])("LUKS1 with %s", async (_, change, reason) => {
    expect(await complaint(change(headerBytes("luks1")))).toBe(`luks/header-damaged: /dev/test: ${reason}`);
  });

  test("LUKS1 that is cut off", async () => {
    expect(await complaint(headerBytes("luks1").subarray(0, 500))).toContain("its LUKS1 header is cut off");
  });

  test("what is no LUKS is none", async () => {
    expect(await read(new Uint8Array(65536))).toBeUndefined();
    expect(await read(new Uint8Array(3))).toBeUndefined();
    expect(await read(headerBytes("luks1").fill(0, 0, 6))).toBeUndefined();
  });
});

describe("metadata under a checksum that holds", () => {
  const good = headerBytes("pbkdf2");

  test.each([
    ["that is no JSON", "{", "the metadata of its LUKS2 header is not JSON"],
    ["that is a list", "[]", "is JSON, but not an object"],
    ["that is nested without end", "[".repeat(2000), "nested more than 32 levels deep"],
    ["without key slots", "{}", "has no keyslots"],
    ["with key slots that are no objects", '{"keyslots":{"0":1}}', "are not what they should be"],
    ["with a key slot of no number", '{"keyslots":{"a":{}}}', "are not what they should be"],
    [
      "with too many key slots",
      JSON.stringify({ keyslots: Object.fromEntries(Array.from({ length: 33 }, (_, id) => [id, {}])) }),
      "has more than 32 keyslots",
    ],
  ])("%s is refused", async (_, text, reason) => {
    expect(await complaint(edited(good, { text }))).toContain(reason);
  });

  test("that is odd in what opening does not need is taken as far as it goes", async () => {
    const text = JSON.stringify({
      keyslots: { "0": { type: "luks2", key_size: -1, kdf: { type: "scrypt\u0007" }, area: 7, priority: "x" } },
      segments: { "0": { type: 5, sector_size: 1e300 } },
      tokens: { "0": { keyslots: ["1", "x", 2, {}] } },
      digests: {},
      config: { requirements: { mandatory: ["a", 5] } },
    });
    expect(await read(edited(good, { text }))).toMatchObject({
      slots: [
        { id: 0, kdf: { kind: "other", name: "scrypt\ufffd" }, keyBits: 0, cipher: "unknown", priority: "normal" },
      ],
      segments: [{ type: "unknown", cipher: "unknown", sectorSize: 512 }],
      tokens: [{ type: "unknown", slots: [1, 2] }],
      requirements: ["a", "unknown"],
    });
  });

  test("tells absurd memory as it is", async () => {
    const header = await read(withArgon2Memory(headerBytes("argon2id"), 0, 2 ** 32 - 1));
    expect(header?.slots[0]?.kdf).toMatchObject({ memoryBytes: (2 ** 32 - 1) * 1024 });
  });
});

describe("whatever is on the disk", () => {
  /** Reads, or refuses with the one code there is for it. */
  async function survives(bytes: Uint8Array): Promise<void> {
    const reader = new CountingReader(bytes);
    try {
      await readLuksHeader(reader);
    } catch (thrown) {
      if (!(thrown instanceof LatchkeyError)) throw thrown;
      expect(thrown.code).toBe("luks/header-damaged");
      expect(thrown.message).not.toContain("\n");
    }
    // Two copies, and a look at each place where the second may be.
    expect(reader.wanted).toBeLessThan(9 * 1024 * 1024);
  }

  test("cut at any length", async () => {
    for (const name of ["luks1", "pbkdf2"] as const) {
      const bytes = headerBytes(name);
      for (let length = 0; length <= bytes.length; length += 61) await survives(bytes.subarray(0, length));
    }
  });

  test("any changed bytes", async () => {
    const change = fc.record({ offset: fc.nat(0x7fff), value: fc.nat(255) });
    const names = fc.constantFrom("luks1" as const, "pbkdf2" as const, "argon2id" as const);
    const property = fc.asyncProperty(names, fc.array(change, { maxLength: 6 }), async (name, changes) => {
      const bytes = headerBytes(name);
      for (const { offset, value } of changes) bytes[offset % bytes.length] = value;
      await survives(bytes);
    });
    await fc.assert(property, { numRuns: 500 });
  });

  test("any bytes of the binary header under a checksum that holds", async () => {
    const change = fc.record({ offset: fc.integer({ min: 6, max: 447 }), value: fc.nat(255) });
    const good = headerBytes("pbkdf2");
    const property = fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), async (changes) => {
      const binary = (view: DataView): void => {
        for (const { offset, value } of changes) view.setUint8(offset, value);
      };
      await survives(edited(good, { binary }));
    });
    await fc.assert(property, { numRuns: 500 });
  });

  test("any JSON as metadata", async () => {
    const good = headerBytes("pbkdf2");
    const inner = fc.dictionary(fc.constantFrom("0", "1", "31", "x", "__proto__"), fc.jsonValue());
    const metadata = fc.oneof(
      fc.jsonValue(),
      fc.record({ keyslots: inner, tokens: inner, segments: inner, config: fc.jsonValue(), digests: inner }),
    );
    const property = fc.asyncProperty(metadata, (json) => survives(edited(good, { json: () => json })));
    await fc.assert(property, { numRuns: 500 });
  });

  test("random bytes behind the magic", async () => {
    const property = fc.asyncProperty(
      fc.uint8Array({ maxLength: 6000 }),
      fc.constantFrom(1, 2, 3),
      async (rest, version) => {
        await survives(Uint8Array.of(0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe, 0, version, ...rest));
      },
    );
    await fc.assert(property, { numRuns: 300 });
  });
});

/** Counts the octets that are asked for. */
class CountingReader extends MemoryReader {
  wanted = 0;

  override readAt(offset: number, length: number): Promise<Uint8Array> {
    this.wanted += length;
    return super.readAt(offset, length);
  }
}
