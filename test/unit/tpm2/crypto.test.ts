import { describe, expect, test } from "bun:test";
import { createCipheriv, createDecipheriv, createECDH, generateKeyPairSync, privateDecrypt } from "node:crypto";
import fc from "fast-check";
import { SecretBytes } from "../../../src/system/secret-bytes.ts";
import { curves, nameHash } from "../../../src/tpm2/algorithms.ts";
import { cfbDecrypt, cfbEncrypt } from "../../../src/tpm2/cfb.ts";
import { kdfA, kdfE } from "../../../src/tpm2/kdf.ts";
import type { PrimaryKey, PrimaryPublicKey } from "../../../src/tpm2/primary.ts";
import { machineRandomness } from "../../../src/tpm2/randomness.ts";
import { makeSalt } from "../../../src/tpm2/salt.ts";
import { hex, WireReader } from "../../../src/tpm2/wire.ts";

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"));

describe("KDFa", () => {
  // Self-test values of the TCG reference implementation (KdfTestData.h).
  test.each([
    ["sha1", "55b5a7184aa07423c47dae766c26a2377d7cf851"],
    ["sha256", "bb0259e1c8ba607e6a2cd704b69a902e9ade84c4"],
    ["sha384", "1dce70c9113eb2dba47bd9cfc72bf46f45b09312"],
    ["sha512", "8be2c1b85b78569b9fa759f5857c56d684810fd3"],
  ])("with %s gives the reference value", (hash, expected) => {
    const key = bytes("271fa08bbdc5060ec3dfa928ff9b73123a12da0c");
    const u = bytes("ce244f395dca7391");
    const v = bytes("da504031ddf12e83");
    using result = kdfA(nameHash(hash), key, "KDFSELFTESTLABEL", u, v, 160);
    expect(hex(result.bytes)).toBe(expected);
  });

  test("goes on after one block", () => {
    // go-tpm, legacy/tpm2/test/kdf_test.go
    const text = (value: string): Uint8Array => new TextEncoder().encode(`${value}\0`);
    using result = kdfA(nameHash("sha1"), text("ca"), "IDENTITY", text("abc"), new Uint8Array(), 256);
    expect(hex(result.bytes)).toBe("83f354afcf923de2112e0891434cd0bdc8acbf01b811c0e8cd062ded39e31f7f");
  });
});

test("KDFe gives what Microsoft's TPM simulator gave", () => {
  // go-tpm, legacy/tpm2/test/kdf_test.go: NIST-P256-SHA256
  using result = kdfE(
    nameHash("sha256"),
    bytes("69fd74d052a5cd9d6addf4ea791f4737eb297246dce604f6385c1392e0fb56b9"),
    "DUPLICATE",
    bytes("c29f8cff1ce054ed5945abd393ee2eed3f67437d9db07b932156c65d32921373"),
    bytes("107937dc44e5bb5094d3d30a55efac77b6db3253ba42dabc804446b93864e055"),
    256,
  );
  expect(hex(result.bytes)).toBe("b15267e3f960f8f8f3b94ff3fc64119f6876974f984f82d50bd54abc7a6406e8");
});

describe("AES-128-CFB", () => {
  const key = bytes("000102030405060708090a0b0c0d0e0f");
  const iv = bytes("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");

  test("is what the library does, in both directions and every length", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (plain) => {
        const cipher = createCipheriv("aes-128-cfb", key, iv);
        const expected = Buffer.concat([cipher.update(plain), cipher.final()]);
        using secret = SecretBytes.take(plain.slice());
        const ciphertext = cfbEncrypt(key, iv, secret);
        expect(hex(ciphertext)).toBe(hex(expected));
        using back = cfbDecrypt(key, iv, ciphertext);
        expect(hex(back.bytes)).toBe(hex(plain));
        const decipher = createDecipheriv("aes-128-cfb", key, iv);
        expect(hex(Buffer.concat([decipher.update(ciphertext), decipher.final()]))).toBe(hex(plain));
      }),
    );
  });
});

describe("a salt", () => {
  const primary = (publicKey: PrimaryPublicKey, hash: string): PrimaryKey => ({
    handle: 0x80000000,
    name: new Uint8Array(),
    hash: nameHash(hash),
    publicKey,
  });

  test.each([
    [256, "prime256v1"],
    [384, "secp384r1"],
    [521, "secp521r1"],
  ] as const)("reaches the holder of a P-%p key", async (size, nodeName) => {
    const curve = curves[size];
    const holder = createECDH(nodeName);
    holder.generateKeys();
    const point = new Uint8Array(holder.getPublicKey());
    const x = point.subarray(1, 1 + curve.size);
    using salt = await makeSalt(primary({ type: "ecc", curve, point, x }, "sha256"), machineRandomness);
    const reader = new WireReader(salt.encrypted, "the encrypted salt", "tpm2/bad-answer");
    const [ownX, ownY] = [reader.sized(), reader.sized()];
    reader.end();
    expect([ownX.length, ownY.length]).toEqual([curve.size, curve.size]);
    const z = holder.computeSecret(Buffer.concat([Uint8Array.of(4), ownX, ownY]));
    using received = kdfE(nameHash("sha256"), z, "SECRET", ownX, x, 256);
    expect(received.equals(salt.secret)).toBe(true);
  });

  test.each(["sha1", "sha256", "sha384", "sha512"])(
    "reaches the holder of an RSA key by OAEP with %s",
    async (hash) => {
      const pair = generateKeyPairSync("rsa", { modulusLength: 2048 });
      using salt = await makeSalt(primary({ type: "rsa", key: pair.publicKey }, hash), machineRandomness);
      const received = privateDecrypt(
        { key: pair.privateKey, oaepHash: hash, oaepLabel: Buffer.from("SECRET\0") },
        salt.encrypted,
      );
      expect(hex(received)).toBe(hex(salt.secret.bytes));
      expect(salt.secret.length).toBe(nameHash(hash).size);
    },
  );

  test("is refused to a point that is not on its curve", async () => {
    const point = new Uint8Array(65).fill(1);
    point[0] = 4;
    const publicKey = { type: "ecc", curve: curves[256], point, x: point.subarray(1, 33) } as const;
    expect(makeSalt(primary(publicKey, "sha256"), machineRandomness)).rejects.toThrow("not a key of its kind");
  });
});
