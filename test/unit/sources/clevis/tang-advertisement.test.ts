import { describe, expect, test } from "bun:test";
import { generateKeyPairSync, sign } from "node:crypto";
import { join } from "node:path";
import fc from "fast-check";
import { encodeBase64url } from "../../../../src/jose/base64url.ts";
import { parseEcPublicKey, thumbprint } from "../../../../src/jose/ec-jwk.ts";
import type { JsonObject } from "../../../../src/jose/json.ts";
import { httpOverFetch } from "../../../../src/sources/clevis/http.ts";
import {
  fetchAdvertisement,
  parseAdvertisement,
  requireTrust,
} from "../../../../src/sources/clevis/tang-advertisement.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { fixtures } from "./fixtures.ts";
import { errorOf } from "./make-tokens.ts";
import { hasTangd, startTangd } from "./tangd.ts";

const never = new AbortController().signal;
const SERVER = "tang server http://t";

/** Keys as tangd keeps them, with P-256 for speed. */
function keyPair(use: "verify" | "deriveKey") {
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk: JsonObject = {
    ...pair.publicKey.export({ format: "jwk" }),
    alg: use === "verify" ? "ES256" : "ECMR",
    key_ops: [use],
  };
  return { ...pair, jwk, thumbprint: (hash: "sha256" | "sha1") => thumbprint(parseEcPublicKey(jwk, "key"), hash) };
}
type Pair = ReturnType<typeof keyPair>;

function advertise(keys: readonly unknown[], signers: readonly Pair[]): Uint8Array {
  const payload = encodeBase64url(Buffer.from(JSON.stringify({ keys })));
  const header = encodeBase64url(Buffer.from('{"alg":"ES256","cty":"jwk-set+json"}'));
  const signatures = signers.map(({ privateKey }) => ({
    protected: header,
    signature: encodeBase64url(
      sign("sha256", Buffer.from(`${header}.${payload}`), { key: privateKey, dsaEncoding: "ieee-p1363" }),
    ),
  }));
  return Buffer.from(JSON.stringify({ payload, signatures }));
}

const [signing, otherSigning, exchange, otherExchange] = [
  keyPair("verify"),
  keyPair("verify"),
  keyPair("deriveKey"),
  keyPair("deriveKey"),
];

describe("an advertisement", () => {
  test("signed by all its signing keys gives the first exchange key", () => {
    const keys = [signing.jwk, exchange.jwk, otherSigning.jwk, otherExchange.jwk];
    const { payload, signingKeys, exchangeKey } = parseAdvertisement(advertise(keys, [otherSigning, signing]), SERVER);
    expect(payload).toEqual({ keys });
    expect(signingKeys.map((key) => thumbprint(key))).toEqual([
      signing.thumbprint("sha256"),
      otherSigning.thumbprint("sha256"),
    ]);
    expect(thumbprint(exchangeKey)).toBe(exchange.thumbprint("sha256"));
  });

  test.each<[string, readonly unknown[], readonly Pair[], string]>([
    ["one signature is missing", [signing.jwk, otherSigning.jwk, exchange.jwk], [signing], "not signed by all"],
    ["a stranger signed it", [signing.jwk, exchange.jwk], [otherSigning], "not signed by all"],
    ["nobody signed it", [signing.jwk, exchange.jwk], [], "not signed by all"],
    ["it has no signing key", [exchange.jwk], [signing], "has no signing key"],
    ["it has no exchange key", [signing.jwk], [signing], "has no exchange key"],
    ["it has no keys", [], [signing], "has no signing key"],
    ["it has too many keys", Array(17).fill(exchange.jwk), [signing], "more than 16"],
    [
      "a key is off its curve",
      [signing.jwk, { ...exchange.jwk, y: exchange.jwk["x"] }],
      [signing],
      "no point of P-256",
    ],
    ["a key is a number", [signing.jwk, exchange.jwk, 5], [], "not signed by all"],
  ])("is refused when %s", async (_what, keys, signers, reason) => {
    const error = await errorOf(() => parseAdvertisement(advertise(keys, signers), SERVER));
    expect(error.code).toBe("tang/bad-advertisement");
    expect(error.message).toStartWith(`${SERVER}: `);
    expect(error.message).toContain(reason);
  });

  test("is refused or parsed with our error, whatever the bytes", () => {
    const good = Buffer.from(advertise([signing.jwk, exchange.jwk], [signing])).toString();
    const changed = fc.tuple(fc.nat(good.length - 1), fc.string({ minLength: 1, maxLength: 1 }));
    const bytes = fc.oneof(
      fc.uint8Array(),
      changed.map(([at, letter]) => Buffer.from(good.slice(0, at) + letter + good.slice(at + 1))),
    );
    fc.assert(
      fc.property(bytes, (any) => {
        try {
          parseAdvertisement(any, SERVER);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(LatchkeyError);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("trust in an advertisement", () => {
  const advertisement = parseAdvertisement(advertise([signing.jwk, exchange.jwk], [signing]), SERVER);

  test("comes from the thumbprint of a signing key, SHA-256 or SHA-1", async () => {
    for (const hash of ["sha256", "sha1"] as const) {
      await requireTrust(advertisement, { by: "thumbprint", thumbprint: signing.thumbprint(hash) }, SERVER);
    }
  });

  test.each([
    ["the exchange key", exchange.thumbprint("sha256")],
    ["a stranger", otherSigning.thumbprint("sha256")],
    ["nobody", ""],
    ["a path", "../adv/../../../../../../../../../../../etc/x"],
  ])("does not come from the thumbprint of %s", async (_whose, wanted) => {
    const error = await errorOf(() => requireTrust(advertisement, { by: "thumbprint", thumbprint: wanted }, SERVER));
    expect(error.code).toBe("tang/untrusted");
    expect(error.outcome).toBe("refused");
  });

  test("comes from a person who is shown the thumbprints, and says yes", async () => {
    const shown: string[][] = [];
    const ask = (yes: boolean) => ({
      by: "confirmation" as const,
      confirm: async (thumbprints: readonly string[]) => {
        shown.push([...thumbprints]);
        return yes;
      },
    });
    await requireTrust(advertisement, ask(true), SERVER);
    expect((await errorOf(() => requireTrust(advertisement, ask(false), SERVER))).code).toBe("tang/untrusted");
    expect(shown).toEqual([[signing.thumbprint("sha256")], [signing.thumbprint("sha256")]]);
  });
});

describe.skipIf(!hasTangd)("the advertisement of a real tangd", () => {
  test("is fetched, verified and trusted by the thumbprint of its signing key", async () => {
    using server = startTangd(join(fixtures, "tang/b"));
    const url = `http://127.0.0.1:${server.port}/`;
    const signer = "4aKEM_4hUrXw61h8d0yz_CaIGuIESqenLiDHWWaWTZQ";
    for (const wanted of [undefined, signer]) {
      const advertisement = await fetchAdvertisement(url, httpOverFetch(), never, wanted);
      expect(thumbprint(advertisement.exchangeKey)).toBe("AYBtIvdBonIayYxscFDkTvt4QCjw9bbCrgTUp3NiO9U");
      await requireTrust(advertisement, { by: "thumbprint", thumbprint: signer }, url);
    }
  });

  test("is not to be had for a thumbprint the server does not know", async () => {
    using server = startTangd(join(fixtures, "tang/b"));
    const url = `http://127.0.0.1:${server.port}`;
    const unknown = "A".repeat(43);
    const error = await errorOf(() => fetchAdvertisement(url, httpOverFetch(), never, unknown));
    expect(error.code).toBe("tang/untrusted");
    expect(error.message).toContain(unknown);
  });

  test("is not to be had where nobody answers", async () => {
    const error = await errorOf(() => fetchAdvertisement("http://127.0.0.1:1", httpOverFetch(), never));
    expect(error.code).toBe("tang/unreachable");
  });
});
