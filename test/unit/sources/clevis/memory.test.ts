import { describe, expect, test } from "bun:test";
import { createECDH, generatePrimeSync, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { encodeBase64url } from "../../../../src/jose/base64url.ts";
import { contentKey } from "../../../../src/jose/concat-kdf.ts";
import { uncompressedPoint } from "../../../../src/jose/ec-jwk.ts";
import { httpOverFetch } from "../../../../src/sources/clevis/http.ts";
import { sealDirect, tangSealer } from "../../../../src/sources/clevis/seal.ts";
import { splitRandomSecret } from "../../../../src/sources/clevis/shamir.ts";
import { fetchAdvertisement } from "../../../../src/sources/clevis/tang-advertisement.ts";
import { parseToken } from "../../../../src/sources/clevis/token.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { findInMemory, type Hit } from "../../providers/bcachefs/process-memory.ts";
import { fixtures } from "./fixtures.ts";
import { hasTangd, startTangd } from "./tangd.ts";

const never = new AbortController().signal;
const subject = join(import.meta.dir, "memory-subject.ts");
const exchangeKeys = {
  c: "-QoJkZaP1NQSbIJADo6S-KEd2KO9YMYRFBR7fyTxzIU",
  d: "axLhE22MtfEQ-RSXo2FG7y9jJtxqHkdL1QWhaIJ6dcY",
} as const;

/**
 * Octets as they would lie in memory: as they are, as the digits of a BigInt, and as text; without the first eight, which an
 * allocator writes over when it takes memory back.
 */
function tracesOf(what: string, bytes: Uint8Array): Record<string, Uint8Array> {
  return {
    [what]: Uint8Array.from(bytes).subarray(8),
    [`${what}, as a number`]: Uint8Array.from(bytes).reverse().subarray(8),
    [`${what}, in base64url`]: Buffer.from(encodeBase64url(bytes)).subarray(8),
    [`${what}, in hex`]: Buffer.from(Buffer.from(bytes).toString("hex")).subarray(8),
  };
}

/** A token for two Tang servers, both needed, and everything secret that opening it computes. */
async function tokenWithTraces(urls: Readonly<Record<keyof typeof exchangeKeys, string>>) {
  const plaintext = randomBytes(40);
  const traces: Record<string, Uint8Array> = tracesOf("the secret", plaintext);
  const prime = new Uint8Array(generatePrimeSync(256));
  using split = splitRandomSecret(prime, 2, 2);
  Object.assign(traces, tracesOf("the content key of the whole", split.secret.bytes));

  const jwe: string[] = [];
  for (const [index, name] of (["c", "d"] as const).entries()) {
    const share = split.shares[index];
    if (!share) throw new Error("no share");
    const token = await tangSealer(urls[name], await fetchAdvertisement(urls[name], httpOverFetch(), never))(
      share,
      never,
    );
    jwe.push(token);
    Object.assign(
      traces,
      tracesOf(`the y of share ${name}`, share.bytes.subarray(32)),
      tracesOf(`share ${name}`, share.bytes),
    );
    const { pin, jwe: parsed } = parseToken(token);
    if (pin.kind !== "tang") throw new Error("no tang token");
    const file = join(fixtures, "tang", name, `${exchangeKeys[name]}.jwk`);
    const { d } = JSON.parse(readFileSync(file, "utf8")) as { d: string };
    const server = createECDH(pin.clientKey.curve.nodeName);
    server.setPrivateKey(Buffer.from(d, "base64url"));
    using agreed = SecretBytes.take(server.computeSecret(uncompressedPoint(pin.clientKey)));
    using key = contentKey(agreed, parsed.header);
    Object.assign(
      traces,
      tracesOf(`what is agreed with ${name}`, agreed.bytes),
      tracesOf(`the content key of ${name}`, key.bytes),
    );
  }
  using secret = SecretBytes.take(Uint8Array.from(plaintext));
  const token = sealDirect("sss", { jwe, p: encodeBase64url(prime), t: 2 }, split.secret, secret);
  return { token, traces };
}

async function leftBehind(token: string, traces: Record<string, Uint8Array>, mode: string): Promise<readonly Hit[]> {
  const child = Bun.spawn([process.execPath, subject, mode], { stdin: Buffer.from(token), stdout: "pipe" });
  try {
    const { value } = await child.stdout.getReader().read();
    expect(new TextDecoder().decode(value)).toBe("opened 40\n");
    return findInMemory(child.pid, traces);
  } finally {
    child.kill();
    await child.exited;
  }
}

describe.skipIf(!hasTangd)("after a token with two Tang shares was opened", () => {
  test("no copy of any key, share or secret is left in the process", async () => {
    using c = startTangd(join(fixtures, "tang/c"));
    using d = startTangd(join(fixtures, "tang/d"));
    const urls = { c: `http://127.0.0.1:${c.port}`, d: `http://127.0.0.1:${d.port}` };
    const { token, traces } = await tokenWithTraces(urls);
    expect(Object.keys(traces)).toHaveLength(40);

    const held = await leftBehind(token, traces, "hold");
    if (held.length === 0) return; // this machine does not let us look into a child
    expect(held.map(({ what }) => what)).toEqual(["the secret"]);
    expect(await leftBehind(token, traces, "let go")).toEqual([]);
  }, 30_000);
});
