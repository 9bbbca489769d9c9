import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openToken } from "../../../../src/sources/clevis/decrypt.ts";
import { httpOverFetch } from "../../../../src/sources/clevis/http.ts";
import { luks2TokenObject, type Sealer, sssSealer, tangSealer } from "../../../../src/sources/clevis/seal.ts";
import { fetchAdvertisement } from "../../../../src/sources/clevis/tang-advertisement.ts";
import { parseToken } from "../../../../src/sources/clevis/token.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { fixtures, toolsWith } from "./fixtures.ts";
import { errorOf, nullSealer, secretOf } from "./make-tokens.ts";
import { hasTangd, startTangd, type TangServer } from "./tangd.ts";

const never = new AbortController().signal;
const hasClevis = Bun.which("clevis") !== null && Bun.which("jose") !== null;

/** Octets that break text handling, and the length that `clevis luks bind` uses. */
const hardSecret = Buffer.from([0, 10, 13, 255, 0, 128, ...Array.from({ length: 34 }, (_, index) => index * 7)]);

/** What the real clevis reads out of a token. */
async function clevisDecrypt(token: string): Promise<Uint8Array> {
  const child = Bun.spawn(["clevis", "decrypt"], { stdin: Buffer.from(token), stdout: "pipe", stderr: "pipe" });
  const [output, status] = await Promise.all([new Response(child.stdout).bytes(), child.exited]);
  if (status !== 0) throw new Error(`clevis decrypt: ${await new Response(child.stderr).text()}`);
  return output;
}

async function sealHard(sealer: Sealer): Promise<string> {
  using secret = SecretBytes.take(Uint8Array.from(hardSecret));
  return await sealer(secret, never);
}

describe.skipIf(!hasTangd)("a token made by latchkey", () => {
  const servers: TangServer[] = [];
  const urls: string[] = [];
  const folder = mkdtempSync(join(tmpdir(), "latchkey-tang-"));

  beforeAll(() => {
    // One server for each curve; tangd makes P-521 keys only.
    for (const name of ["c", "d", "b"]) {
      const keys = join(folder, name);
      cpSync(join(fixtures, "tang", name), keys, { recursive: true });
      const server = startTangd(keys);
      servers.push(server);
      urls.push(`http://127.0.0.1:${server.port}`);
    }
  });

  afterAll(() => {
    for (const server of servers) server[Symbol.dispose]();
    rmSync(folder, { recursive: true });
  });

  const tang = async (index: number): Promise<Sealer> => {
    const url = urls[index] ?? "";
    return tangSealer(url, await fetchAdvertisement(url, httpOverFetch(), never));
  };
  const shapes: readonly [string, () => Promise<Sealer>][] = [
    ["tang on P-256", () => tang(0)],
    ["tang on P-384", () => tang(1)],
    ["tang on P-521", () => tang(2)],
    ["sss 1 of 1", async () => sssSealer(1, [await tang(0)])],
    ["sss 2 of 3 tang", async () => sssSealer(2, [await tang(0), await tang(1), await tang(2)])],
    ["sss in sss", async () => sssSealer(2, [nullSealer, sssSealer(1, [await tang(0), await tang(2)])])],
    ["sss 5 of 8", async () => sssSealer(5, Array(8).fill(nullSealer))],
  ];

  test.each(shapes)("is opened by latchkey: %s", async (_name, sealer) => {
    const token = await sealHard(await sealer());
    using secret = await openToken(parseToken(token), toolsWith(), never);
    expect(Buffer.from(secret.bytes).equals(hardSecret)).toBe(true);
  });

  test.skipIf(!hasClevis).each(shapes)(
    `is opened by clevis${hasClevis ? "" : " (skipped: clevis is not installed)"}: %s`,
    async (_name, sealer) => {
      const token = await sealHard(await sealer());
      expect(Buffer.from(await clevisDecrypt(token)).equals(hardSecret)).toBe(true);
    },
    30_000,
  );

  test("can be empty or long", async () => {
    for (const length of [0, 1, 100_000]) {
      using secret = SecretBytes.allocate(length);
      const token = await (await tang(0))(secret, never);
      using opened = await openToken(parseToken(token), toolsWith(), never);
      expect(opened.equals(secret)).toBe(true);
    }
  });

  test("has a header that clevis would have written", async () => {
    using secret = secretOf("x");
    const token = parseToken(await (await tang(2))(secret, never));
    const text = Buffer.from(token.jwe.encodedHeader, "base64url").toString();
    expect(text).toMatch(
      /^\{"alg":"ECDH-ES","clevis":\{"pin":"tang","tang":\{"adv":\{"keys":\[.+\]\},"url":"http:\/\/127\.0\.0\.1:\d+"\}\},"enc":"A256GCM","epk":\{"crv":"P-521","kty":"EC","x":"[\w-]{88}","y":"[\w-]{88}"\},"kid":"[\w-]{43}"\}$/,
    );
  });

  test("becomes the token object of a LUKS2 header", async () => {
    using secret = secretOf("x");
    const token = await nullSealer(secret, never);
    const object = luks2TokenObject(token, 3);
    expect(object).toMatchObject({ type: "clevis", keyslots: ["3"], jwe: { encrypted_key: "" } });
    expect(parseToken(JSON.stringify(object)).compact).toBe(token);
  });
});

describe("a threshold", () => {
  test.each([0, -1, 1.5, 4, Number.NaN])("of %p for three shares is refused", async (threshold) => {
    const error = await errorOf(() => sssSealer(threshold, Array(3).fill(nullSealer)));
    expect(error.code).toBe("config/invalid-value");
  });
});
