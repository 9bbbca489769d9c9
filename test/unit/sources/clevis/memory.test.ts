import { describe, expect, test } from "bun:test";
import { generatePrimeSync, randomBytes } from "node:crypto";
import { join } from "node:path";
import { encodeBase64url } from "../../../../src/jose/base64url.ts";
import { contentKey } from "../../../../src/jose/concat-kdf.ts";
import type { EcPublicKey } from "../../../../src/jose/ec-jwk.ts";
import { httpOverFetch } from "../../../../src/sources/clevis/http.ts";
import { sealDirect, tangSealer } from "../../../../src/sources/clevis/seal.ts";
import { splitRandomSecret } from "../../../../src/sources/clevis/shamir.ts";
import { fetchAdvertisement } from "../../../../src/sources/clevis/tang-advertisement.ts";
import { parseToken } from "../../../../src/sources/clevis/token.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { findInMemory } from "../../providers/bcachefs/process-memory.ts";
import { hasTangd } from "./tangd.ts";
import { WatchedTang } from "./watched-tang.ts";

const never = new AbortController().signal;
const subject = join(import.meta.dir, "memory-subject.ts");

type Traces = Record<string, Uint8Array>;

/**
 * Octets as they would lie in memory: as they are, as the digits of a BigInt, and as text; without the first eight, which an
 * allocator writes over when it takes memory back.
 */
function tracesOf(what: string, bytes: Uint8Array): Traces {
  return {
    [what]: Uint8Array.from(bytes).subarray(8),
    [`${what}, as a number`]: Uint8Array.from(bytes).reverse().subarray(8),
    [`${what}, in base64url`]: Buffer.from(encodeBase64url(bytes)).subarray(8),
    [`${what}, in hex`]: Buffer.from(Buffer.from(bytes).toString("hex")).subarray(8),
  };
}

interface Share {
  readonly server: WatchedTang;
  readonly clientKey: EcPublicKey;
}

/** A token for two Tang servers, both needed, and everything secret in it. */
async function tokenWithTraces(servers: readonly WatchedTang[]) {
  const plaintext = randomBytes(40);
  const prime = new Uint8Array(generatePrimeSync(256));
  using split = splitRandomSecret(prime, 2, 2);
  const traces: Traces = {
    ...tracesOf("the secret", plaintext),
    ...tracesOf("the content key of the whole", split.secret.bytes),
  };
  const jwe: string[] = [];
  const shares: Share[] = [];
  for (const [index, server] of servers.entries()) {
    const share = split.shares[index];
    if (!share) throw new Error("no share");
    const seal = tangSealer(server.url, await fetchAdvertisement(server.url, httpOverFetch(), never));
    const { pin, jwe: parsed, compact } = parseToken(await seal(share, never));
    if (pin.kind !== "tang") throw new Error("no tang token");
    jwe.push(compact);
    shares.push({ server, clientKey: pin.clientKey });
    using agreed = SecretBytes.take(server.agreedWith(pin.clientKey));
    using key = contentKey(agreed, parsed.header);
    Object.assign(traces, tracesOf(`share ${index}`, share.bytes), tracesOf(`y of ${index}`, share.bytes.subarray(32)));
    Object.assign(traces, tracesOf(`K of ${index}`, agreed.bytes), tracesOf(`content key of ${index}`, key.bytes));
  }
  using secret = SecretBytes.take(Uint8Array.from(plaintext));
  const token = sealDirect("sss", { jwe, p: encodeBase64url(prime), t: 2 }, split.secret, secret);
  return { token, traces, shares };
}

/** What a process that opened the token still holds of its secrets, and of the points that hid the questions. */
async function foundAfterOpening(token: string, traces: Traces, shares: readonly Share[], mode: "hold" | "let go") {
  const child = Bun.spawn([process.execPath, subject, mode], { stdin: Buffer.from(token), stdout: "pipe" });
  try {
    const { value } = await child.stdout.getReader().read();
    expect(new TextDecoder().decode(value)).toBe("opened 40\n");
    const all = { ...traces };
    for (const [index, { server, clientKey }] of shares.entries()) {
      for (const [x, y] of server.blindingPoints(clientKey)) {
        Object.assign(all, tracesOf(`x of e·S for ${index}`, x), tracesOf(`y of e·S for ${index}`, y));
      }
    }
    expect(Object.keys(all)).toHaveLength(56);
    return findInMemory(child.pid, all).map(({ what }) => what);
  } finally {
    child.kill();
    await child.exited;
  }
}

describe.skipIf(!hasTangd)("after a token with two Tang shares was opened", () => {
  test("no copy of any key, share or secret is left in the process", async () => {
    using c = new WatchedTang("c");
    using d = new WatchedTang("d");
    const { token, traces, shares } = await tokenWithTraces([c, d]);
    const held = await foundAfterOpening(token, traces, shares, "hold");
    if (held.length === 0) return; // this machine does not let us look into a child
    expect(held).toEqual(["the secret"]);
    expect(await foundAfterOpening(token, traces, shares, "let go")).toEqual([]);
  }, 30_000);
});
