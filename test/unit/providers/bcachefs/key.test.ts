import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chacha20, chacha20orig } from "@noble/ciphers/chacha.js";
import { scrypt } from "@noble/hashes/scrypt.js";
import fc from "fast-check";
import { chacha20FirstBlock } from "../../../../src/providers/bcachefs/chacha20.ts";
import { checkedParameters, opensWrappedKey, parametersText } from "../../../../src/providers/bcachefs/key.ts";
import { readSuperblock } from "../../../../src/providers/bcachefs/read.ts";
import { scryptInto } from "../../../../src/providers/bcachefs/scrypt.ts";
import type { LatchkeyError } from "../../../../src/system/errors.ts";
import {
  failureOf,
  fieldOffset,
  fixtureBytes,
  MemoryReader,
  manifest,
  rememberingDeriver,
  secretOf,
} from "./fixtures.ts";

// A real derivation takes 0.4 s, on a busy machine ten times that.
setDefaultTimeout(120_000);

const salt = new TextEncoder().encode("bcache\0");

describe("ChaCha20", () => {
  test("the first block equals another implementation's, in both forms of the nonce", () => {
    const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
    fc.assert(
      fc.property(bytes(32), bytes(8), (key, nonce) => {
        using secret = secretOf(key);
        using stream = chacha20FirstBlock(secret, nonce);
        const zeros = new Uint8Array(64);
        expect(stream.bytes.toHex()).toBe(chacha20orig(key, nonce, zeros).toHex());
        expect(stream.bytes.toHex()).toBe(chacha20(key, Uint8Array.of(0, 0, 0, 0, ...nonce), zeros).toHex());
      }),
    );
  });
});

describe("scrypt", () => {
  test("equals another implementation, for every passphrase and small parameters", () => {
    const parameters = fc.record({
      log2N: fc.integer({ min: 1, max: 6 }),
      log2R: fc.nat(3),
      log2P: fc.nat(2),
    });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), parameters, (passphrase, { log2N, log2R, log2P }) => {
        const key = new Uint8Array(32);
        scryptInto(passphrase, { log2N, log2R, log2P }, key);
        const options = { N: 2 ** log2N, r: 2 ** log2R, p: 2 ** log2P, dkLen: 32 };
        expect(key.toHex()).toBe(scrypt(passphrase, salt, options).toHex());
      }),
    );
  });
});

describe("the keys of the real tool", () => {
  const wanting = manifest.cases.filter(({ passphrase }) => passphrase !== undefined);

  test.each(wanting)("$name: passphrase, passphrase key and master key belong together", async (each) => {
    using passphrase = secretOf(each.passphrase ?? "");
    for (const device of each.devices) {
      const bytes = fixtureBytes(device.head);
      const { superblock } = await readSuperblock(new MemoryReader(bytes));
      if (!superblock.crypt) throw new Error("not encrypted");
      using key = await rememberingDeriver.derive(passphrase, checkedParameters(superblock.crypt, device.name));
      expect(key.bytes.toHex()).toBe(each.passphrase_key_hex ?? "");
      expect(opensWrappedKey(key, superblock.crypt, superblock.nonce)).toBe(true);
      // The master key: what latchkey itself never unwraps.
      using stream = chacha20FirstBlock(key, superblock.nonce);
      const copy = bytes.subarray(4096);
      const view = new DataView(copy.buffer, copy.byteOffset, copy.byteLength);
      const wrapped = copy.subarray(fieldOffset({ bytes: copy, view }, 2) + 24).subarray(8, 40);
      expect(wrapped.map((byte, index) => byte ^ (stream.bytes[index + 8] ?? 0)).toHex()).toBe(
        each.master_key_hex ?? "",
      );
    }
  });

  test("a key that differs in one bit does not pass the check", async () => {
    const [each] = wanting;
    if (!each) throw new Error("no case");
    const { superblock } = await readSuperblock(new MemoryReader(fixtureBytes(each.devices[0]?.head ?? "")));
    const { crypt, nonce } = superblock;
    if (!crypt) throw new Error("not encrypted");
    for (let bit = 0; bit < 256; bit++) {
      using key = secretOf(Uint8Array.fromHex(each.passphrase_key_hex ?? ""));
      key.bytes[bit >> 3] = (key.bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(opensWrappedKey(key, crypt, nonce)).toBe(false);
    }
  });
});

describe("limits on what a disk may ask for", () => {
  const wrappedMagic = new Uint8Array(8);
  const judged = (log2N: number, log2R: number, log2P: number, kdfType = 0): Promise<string> => {
    const crypt = { kdfType, log2N, log2R, log2P, wrappedMagic, isClear: false };
    return Promise.try(() => parametersText(checkedParameters(crypt, "/dev/x")));
  };

  test.each([
    [14, 3, 4],
    [1, 0, 0],
    [20, 3, 4],
    [14, 5, 8],
  ])("N=2^%d r=2^%d p=2^%d is derived", async (n, r, p) => {
    expect(await judged(n, r, p)).toBe(`scrypt:${n}:${r}:${p}`);
  });

  test.each([
    [0, 0, 0],
    [0, 3, 4],
    [21, 0, 0],
    [20, 4, 0],
    [14, 3, 9],
    [20, 3, 8],
    [1, 65535, 0],
    [65535, 65535, 65535],
  ])("N=2^%d r=2^%d p=2^%d is refused", async (n, r, p) => {
    const failure: LatchkeyError = await failureOf(judged(n, r, p));
    expect(failure.code).toBe("bcachefs/kdf-out-of-bounds");
    expect(failure.message).toContain(`/dev/x asks for scrypt with N=2^${n} r=2^${r} p=2^${p}`);
  });

  test("a key derivation other than scrypt is refused", async () => {
    expect((await failureOf(judged(14, 3, 4, 5))).code).toBe("bcachefs/unsupported");
  });
});
