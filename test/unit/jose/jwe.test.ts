import { describe, expect, test } from "bun:test";
import { randomFillSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { decryptA256gcm, encryptA256gcm } from "../../../src/jose/a256gcm.ts";
import { contentKey } from "../../../src/jose/concat-kdf.ts";
import { parseJsonObject } from "../../../src/jose/json.ts";
import {
  compactFromFlattened,
  flattenedFromCompact,
  MAX_ENCODED_HEADER,
  MAX_TOKEN_CHARACTERS,
  parseCompactJwe,
  requireA256gcm,
} from "../../../src/jose/jwe.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { SecretBytes } from "../../../src/system/secret-bytes.ts";

const secretOf = (text: string): SecretBytes => SecretBytes.take(Buffer.from(text));

function randomKey(): SecretBytes {
  const key = SecretBytes.allocate(32);
  randomFillSync(key.bytes);
  return key;
}

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(LatchkeyError);
    if (thrown instanceof LatchkeyError) return thrown.code;
  }
  return "nothing thrown";
}

describe("a compact JWE", () => {
  test("opens with its key to what went in, whatever that is", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        using key = randomKey();
        using plaintext = SecretBytes.take(Uint8Array.from(bytes));
        const jwe = parseCompactJwe(encryptA256gcm(key, { enc: "A256GCM", alg: "dir" }, plaintext));
        requireA256gcm(jwe, "dir");
        using opened = decryptA256gcm(key, jwe);
        expect(Buffer.from(opened.bytes).equals(Buffer.from(bytes))).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  test("with any character changed, or cut anywhere, does not open", () => {
    using key = randomKey();
    using plaintext = secretOf("hunter2");
    const compact = encryptA256gcm(key, { alg: "dir", enc: "A256GCM" }, plaintext);
    const tryToOpen = (text: string): void => {
      const jwe = parseCompactJwe(text);
      requireA256gcm(jwe, "dir");
      decryptA256gcm(key, jwe)[Symbol.dispose]();
    };
    tryToOpen(compact);
    for (let at = 0; at < compact.length; at += 1) {
      const other = compact[at] === "A" ? "B" : "A";
      const changed = `${compact.slice(0, at)}${other}${compact.slice(at + 1)}`;
      expect(["token/malformed", "token/tag-mismatch", "token/unsupported"]).toContain(
        codeOf(() => tryToOpen(changed)),
      );
      expect(["token/malformed", "token/tag-mismatch"]).toContain(codeOf(() => tryToOpen(compact.slice(0, at))));
    }
  });

  test("does not open with another key, nor with one of another length", () => {
    using key = randomKey();
    using other = randomKey();
    using short = SecretBytes.allocate(16);
    using plaintext = secretOf("hunter2");
    const jwe = parseCompactJwe(encryptA256gcm(key, { alg: "dir", enc: "A256GCM" }, plaintext));
    expect(codeOf(() => decryptA256gcm(other, jwe))).toBe("token/tag-mismatch");
    expect(codeOf(() => decryptA256gcm(short, jwe))).toBe("token/malformed");
  });

  test("is bounded before anything is decoded", () => {
    expect(codeOf(() => parseCompactJwe("A".repeat(MAX_TOKEN_CHARACTERS + 1)))).toBe("token/too-large");
    expect(codeOf(() => parseCompactJwe(`${"A".repeat(MAX_ENCODED_HEADER + 1)}....`))).toBe("token/too-large");
    expect(codeOf(() => parseCompactJwe(".".repeat(1_000_000)))).toBe("token/malformed");
  });

  test.each([
    ["another algorithm", { alg: "A256KW", enc: "A256GCM" }, "token/unsupported"],
    ["another encryption", { alg: "dir", enc: "A128GCM" }, "token/unsupported"],
    ["compression", { alg: "dir", enc: "A256GCM", zip: "DEF" }, "token/unsupported"],
    ["demands", { alg: "dir", enc: "A256GCM", crit: ["exp"] }, "token/unsupported"],
    ["no algorithm", { enc: "A256GCM" }, "token/malformed"],
    ["a list as algorithm", { alg: ["dir"], enc: "A256GCM" }, "token/malformed"],
  ])("with %s is refused", (_what, header, code) => {
    using key = randomKey();
    using plaintext = secretOf("x");
    expect(codeOf(() => requireA256gcm(parseCompactJwe(encryptA256gcm(key, header, plaintext)), "dir"))).toBe(code);
  });
});

describe("a flattened JWE", () => {
  const file = join(import.meta.dir, "../../fixtures/clevis/luks/tang-a.token.json");
  const { jwe } = parseJsonObject(readFileSync(file), "the token") as { jwe: Record<string, unknown> };

  test("becomes compact and flattened again without a change", () => {
    const compact = compactFromFlattened(jwe);
    expect(parseCompactJwe(compact).header["kid"]).toBe("CY_b3pyFn9HIedJ41hFfVC4UCc31IIPuXKX_fCTqe-k");
    expect(flattenedFromCompact(compact)).toEqual(jwe as never);
  });

  test("may leave the empty key out, and nothing else", () => {
    const { encrypted_key: _empty, ...rest } = jwe;
    expect(compactFromFlattened(rest)).toBe(compactFromFlattened(jwe));
    for (const name of ["protected", "iv", "ciphertext", "tag"]) {
      expect(() => compactFromFlattened({ ...jwe, [name]: undefined })).toThrow(`has no ${name}`);
      expect(() => compactFromFlattened({ ...jwe, [name]: 5 })).toThrow(`${name} is not a string`);
      expect(() => compactFromFlattened({ ...jwe, [name]: "a.b" })).toThrow(`${name} is not base64url`);
    }
  });
});

describe("the content key of ECDH-ES", () => {
  // The agreed secret of RFC 7518 appendix C; its result is for A128GCM, so these are from Python's hashlib, by a function
  // that gives the appendix' own result for its own algorithm.
  const agreed = Buffer.from("9e56d91d817135d372834283bf84269cfb316ea3da806a48f6daa7798cfe90c4", "hex");

  test("is one round of SHA-256 over round, secret, algorithm, parties and length", () => {
    using secret = SecretBytes.take(Buffer.from(agreed));
    using key = contentKey(secret, { apu: "QWxpY2U", apv: "Qm9i" });
    expect(Buffer.from(key.bytes).toString("hex")).toBe(
      "fd5a6362ee2ef39e51d8a9ddb2c98507390b5a8f6a3bc14af47c47d1b58e3b60",
    );
  });

  test("takes absent parties as empty", () => {
    using secret = SecretBytes.take(Buffer.from(agreed));
    using key = contentKey(secret, {});
    expect(Buffer.from(key.bytes).toString("hex")).toBe(
      "b27e1ae45b86035f70ffd584b87a3553bd5f156ec0b754cd4d0f74f6562d3535",
    );
  });
});
