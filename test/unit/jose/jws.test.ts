import { describe, expect, test } from "bun:test";
import { generateKeyPairSync, sign } from "node:crypto";
import fc from "fast-check";
import { encodeBase64url } from "../../../src/jose/base64url.ts";
import { curves } from "../../../src/jose/curves.ts";
import { parseEcPublicKey } from "../../../src/jose/ec-jwk.ts";
import type { JsonObject } from "../../../src/jose/json.ts";
import { isSignedBy, parseJws } from "../../../src/jose/jws.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";

const encode = (text: string): string => encodeBase64url(Buffer.from(text));
const payload = encode('{"keys":[]}');

function signer(curve: (typeof curves)[number]) {
  const pair = generateKeyPairSync("ec", { namedCurve: curve.nodeName });
  const key = parseEcPublicKey(pair.publicKey.export({ format: "jwk" }), "the key");
  const signature = (header: JsonObject, dsaEncoding: "ieee-p1363" | "der" = "ieee-p1363") => {
    const encodedHeader = encode(JSON.stringify(header));
    const signed = Buffer.from(`${encodedHeader}.${payload}`);
    const bytes = sign(curve.signatureHash, signed, { key: pair.privateKey, dsaEncoding });
    return { protected: encodedHeader, signature: encodeBase64url(bytes) };
  };
  return { key, signature };
}

describe.each(curves)("a JWS with $signature", (curve) => {
  const { key, signature } = signer(curve);
  const stranger = signer(curve);
  const own = signature({ alg: curve.signature });

  test("is signed by its key and by no other, flattened and general", () => {
    for (const json of [
      { payload, ...own },
      { payload, signatures: [stranger.signature({ alg: curve.signature }), own] },
    ]) {
      expect(isSignedBy(parseJws(json, "it"), key)).toBe(true);
    }
    expect(isSignedBy(parseJws({ payload, ...own }, "it"), stranger.key)).toBe(false);
  });

  test("covers header and payload", () => {
    const other = encode('{"keys":[1]}');
    expect(isSignedBy(parseJws({ ...own, payload: other }, "it"), key)).toBe(false);
    const header = encode(JSON.stringify({ alg: curve.signature, x: 1 }));
    expect(isSignedBy(parseJws({ ...own, payload, protected: header }, "it"), key)).toBe(false);
  });

  test.each([
    ["none", { alg: "none" }],
    ["a symmetric algorithm", { alg: "HS256" }],
    ["another curve's algorithm", { alg: curves.find((other) => other !== curve)?.signature }],
    ["no algorithm", {}],
    ["demands it makes", { alg: curve.signature, crit: ["b64"], b64: false }],
  ])("does not count with %s", (_what, header) => {
    expect(isSignedBy(parseJws({ payload, ...signature(header) }, "it"), key)).toBe(false);
  });

  test("does not count in DER", () => {
    expect(isSignedBy(parseJws({ payload, ...signature({ alg: curve.signature }, "der") }, "it"), key)).toBe(false);
  });

  test.each([
    ["all zeros", new Uint8Array(2 * curve.coordinateBytes)],
    ["all ones", new Uint8Array(2 * curve.coordinateBytes).fill(255)],
    ["empty", new Uint8Array()],
    ["half", new Uint8Array(curve.coordinateBytes)],
  ])("does not count with a signature of %s", (_what, bytes) => {
    const json = { payload, protected: own.protected, signature: encodeBase64url(bytes) };
    expect(isSignedBy(parseJws(json, "it"), key)).toBe(false);
  });
});

describe("a JWS from outside", () => {
  test("has at most 16 signatures", () => {
    const one = { protected: encode("{}"), signature: "" };
    expect(parseJws({ payload, signatures: Array(16).fill(one) }, "it").signatures).toHaveLength(16);
    expect(() => parseJws({ payload, signatures: Array(17).fill(one) }, "it")).toThrow("more than 16");
  });

  test("parses or fails with our error, whatever the JSON", () => {
    const part = fc.oneof(fc.string(), fc.base64String(), fc.constant(encode("{}")), fc.jsonValue());
    const one = fc.record({ protected: part, signature: part });
    const any = fc.record({ payload: part, protected: part, signature: part, signatures: fc.option(fc.array(one)) });
    fc.assert(
      fc.property(any, (json) => {
        try {
          parseJws(json, "it");
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(LatchkeyError);
        }
      }),
    );
  });
});
