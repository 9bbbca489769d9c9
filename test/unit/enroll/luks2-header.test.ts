import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  freeSlot,
  freeToken,
  luksVersion,
  parseMetadata,
  tokensOfType,
} from "../../../src/providers/luks/luks2-header.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { MemoryReader } from "../providers/bcachefs/fixtures.ts";
import { errorOf } from "../sources/clevis/make-tokens.ts";
import { LuksFile, whyNoLuks } from "./scene.ts";

const header = (version: number): Uint8Array => Uint8Array.of(0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe, 0, version, 0, 0);

describe("the first octets of a device", () => {
  test("tell LUKS1 and LUKS2 from everything else", async () => {
    expect(await luksVersion(new MemoryReader(header(1)))).toBe(1);
    expect(await luksVersion(new MemoryReader(header(2)))).toBe(2);
    for (const other of [header(2).with(0, 0x53), header(2).subarray(0, 7), new Uint8Array(), new Uint8Array(4096)]) {
      expect(await luksVersion(new MemoryReader(other))).toBeUndefined();
    }
  });
});

describe("the JSON of a header", () => {
  const text = JSON.stringify({
    keyslots: { "0": {}, "1": {}, "3": {} },
    tokens: { "0": { type: "clevis", keyslots: ["1", "3"] }, "2": { type: "systemd-tpm2", keyslots: ["0"] }, "4": 5 },
  });

  test("gives the slots, the tokens, and what is free", () => {
    const metadata = parseMetadata(text, "/dev/sda");
    expect([...metadata.slots]).toEqual([0, 1, 3]);
    expect(freeSlot(metadata, "/dev/sda")).toBe(2);
    expect(freeToken(metadata, "/dev/sda")).toBe(1);
    expect(tokensOfType(metadata, "clevis").map(({ id, slots }) => [id, slots])).toEqual([[0, [1, 3]]]);
  });

  test("that is full says so, with slot 0 free", async () => {
    const slots = new Set(Array.from({ length: 31 }, (_, index) => index + 1));
    const tokens = new Map(Array.from({ length: 32 }, (_, index) => [index, {}]));
    for (const find of [
      () => freeSlot({ slots, tokens }, "/dev/sda"),
      () => freeToken({ slots, tokens }, "/dev/sda"),
    ]) {
      const error = await errorOf(find);
      expect(error.code).toBe("luks/full");
      expect(error.message).toStartWith("/dev/sda: ");
    }
  });

  test("that is anything else is our error", () => {
    const isOurs = (given: string): boolean => {
      try {
        parseMetadata(given, "/dev/sda");
        return true;
      } catch (thrown) {
        return thrown instanceof LatchkeyError && thrown.code === "luks/tool-failed";
      }
    };
    fc.assert(fc.property(fc.json(), isOurs));
    fc.assert(fc.property(fc.nat({ max: text.length }), (end) => isOurs(text.slice(0, end))));
  });

  test.skipIf(whyNoLuks !== undefined)("of a real header is read", async () => {
    using disk = new LuksFile();
    expect([...(await disk.metadata()).slots]).toEqual([0]);
  });
});
