import { describe, expect, test } from "bun:test";
import { createECDH } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import fc from "fast-check";
import { encodeBase64url } from "../../../src/jose/base64url.ts";
import { curves, fromBigInt, toBigInt } from "../../../src/jose/curves.ts";
import { type EcPublicKey, ecPublicJwk, parseEcPublicKey, thumbprint } from "../../../src/jose/ec-jwk.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";

const tang = join(import.meta.dir, "../../fixtures/clevis/tang");
const keyFiles = ["a", "b", "c", "d"].flatMap((server) =>
  readdirSync(join(tang, server)).map((file) => join(tang, server, file)),
);

function freshKey(curve: (typeof curves)[number]): EcPublicKey {
  const pair = createECDH(curve.nodeName);
  const point = pair.generateKeys();
  const length = curve.coordinateBytes;
  return { curve, x: point.subarray(1, 1 + length), y: point.subarray(1 + length) };
}

describe("an EC public key", () => {
  test.each(keyFiles)("has the thumbprint that tang gave the file: %s", (file) => {
    const key = parseEcPublicKey(JSON.parse(readFileSync(file, "utf8")), "the key");
    expect(thumbprint(key, "sha256")).toBe(basename(file, ".jwk").replace(/^\./, ""));
    expect(thumbprint(key, "sha1")).toHaveLength(27);
  });

  test.each(curves)("$name: what the library makes is on the curve, and survives the way through JSON", (curve) => {
    for (let round = 0; round < 10; round += 1) {
      const key = freshKey(curve);
      const parsed = parseEcPublicKey(JSON.parse(JSON.stringify(ecPublicJwk(key))), "the key");
      expect(Buffer.from(parsed.x).equals(key.x)).toBe(true);
      expect(Buffer.from(parsed.y).equals(key.y)).toBe(true);
    }
  });

  describe.each(curves)("on $name is refused", (curve) => {
    const good = freshKey(curve);
    const length = curve.coordinateBytes;
    const jwk = (x: Uint8Array, y: Uint8Array, more: object = {}): object => ({
      ...ecPublicJwk(good),
      x: encodeBase64url(x),
      y: encodeBase64url(y),
      ...more,
    });
    const plusOne = (bytes: Uint8Array): Uint8Array => fromBigInt((toBigInt(bytes) + 1n) % curve.p, length);
    const otherCurve = curves.find((other) => other !== curve)?.name;

    test.each<[string, unknown]>([
      ["the point at infinity, as zeros", jwk(new Uint8Array(length), new Uint8Array(length))],
      ["the point at infinity, as nothing", jwk(new Uint8Array(), new Uint8Array())],
      ["a point beside the curve", jwk(good.x, plusOne(good.y))],
      ["a short coordinate", jwk(good.x.subarray(1), good.y)],
      ["a long coordinate", jwk(Buffer.concat([new Uint8Array(1), good.x]), good.y)],
      ["a coordinate that is not reduced", jwk(new Uint8Array(length).fill(255), good.y)],
      ["p as x", jwk(fromBigInt(curve.p, length), good.y)],
      ["another curve's name", jwk(good.x, good.y, { crv: otherCurve })],
      ["a curve nobody knows", jwk(good.x, good.y, { crv: "P-192" })],
      ["a member of every object as curve", jwk(good.x, good.y, { crv: "__proto__" })],
      ["no curve", jwk(good.x, good.y, { crv: undefined })],
      ["another type", jwk(good.x, good.y, { kty: "oct" })],
      ["a number as x", jwk(good.x, good.y, { x: 5 })],
      ["null", null],
      ["a list", [good]],
    ])("as %s", (_what, json) => {
      expect(() => parseEcPublicKey(json, "the key")).toThrow(LatchkeyError);
    });
  });

  test("parses or fails with our error, whatever the JSON", () => {
    const member = fc.oneof(fc.string(), fc.constantFrom("EC", "P-256", "P-521"), fc.jsonValue());
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), fc.record({ kty: member, crv: member, x: member, y: member })), (json) => {
        try {
          parseEcPublicKey(json, "the key");
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(LatchkeyError);
        }
      }),
    );
  });
});
