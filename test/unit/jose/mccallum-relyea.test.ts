import { describe, expect, test } from "bun:test";
import { createECDH, ECDH } from "node:crypto";
import { curves } from "../../../src/jose/curves.ts";
import { type EcPublicKey, uncompressedPoint } from "../../../src/jose/ec-jwk.ts";
import { EphemeralKey } from "../../../src/jose/ephemeral-key.ts";
import { BlindedExchange } from "../../../src/jose/mccallum-relyea.ts";
import type { SecretBytes } from "../../../src/system/secret-bytes.ts";

type Curve = (typeof curves)[number];

function keyOf(curve: Curve, point: Uint8Array): EcPublicKey {
  const length = curve.coordinateBytes;
  return { curve, x: point.subarray(1, 1 + length), y: point.subarray(1 + length) };
}

/** Both points that a server could mean by an x coordinate alone: tangd computes the right one, the test tries both. */
function answersOf(curve: Curve, server: ReturnType<typeof createECDH>, question: EcPublicKey): EcPublicKey[] {
  const x = server.computeSecret(uncompressedPoint(question));
  return [2, 3].map((sign) => {
    const compressed = Buffer.concat([Uint8Array.of(sign), x]);
    const point = ECDH.convertKey(compressed, curve.nodeName, undefined, undefined, "uncompressed");
    return keyOf(curve, point as Buffer);
  });
}

/** What a client could take for the agreed secret, in hex. */
function candidatesFor(exchange: BlindedExchange, answer: EcPublicKey): string[] {
  const candidates: string[] = [];
  const handed: SecretBytes[] = [];
  const opened = exchange.unblind(answer, (agreed) => {
    handed.push(agreed);
    candidates.push(Buffer.from(agreed.bytes).toString("hex"));
    return undefined;
  });
  expect(opened).toBeUndefined();
  expect(candidates).toHaveLength(2);
  expect(handed.every(({ isDisposed }) => isDisposed)).toBe(true);
  return candidates;
}

describe.each(curves)("a McCallum-Relyea exchange on $name", (curve) => {
  test("gives what the server and the token's half agree on, and hides both", () => {
    for (let round = 0; round < 20; round += 1) {
      const server = createECDH(curve.nodeName);
      const serverKey = keyOf(curve, server.generateKeys());
      const client = createECDH(curve.nodeName);
      const clientKey = keyOf(curve, client.generateKeys());
      const wanted = server.computeSecret(uncompressedPoint(clientKey)).toString("hex");

      using exchange = new BlindedExchange(serverKey, clientKey);
      expect(Buffer.from(exchange.blinded.x).equals(clientKey.x)).toBe(false);
      const candidates = answersOf(curve, server, exchange.blinded).flatMap((answer) =>
        candidatesFor(exchange, answer),
      );
      expect(candidates).toContain(wanted);
    }
  });

  test("tries no other candidate when the first one opens", () => {
    const serverKey = keyOf(curve, createECDH(curve.nodeName).generateKeys());
    const clientKey = keyOf(curve, createECDH(curve.nodeName).generateKeys());
    using exchange = new BlindedExchange(serverKey, clientKey);
    let tried = 0;
    expect(exchange.unblind(serverKey, () => (tried += 1))).toBe(1);
    expect(tried).toBe(1);
  });

  test("asks another question each time", () => {
    const serverKey = keyOf(curve, createECDH(curve.nodeName).generateKeys());
    const clientKey = keyOf(curve, createECDH(curve.nodeName).generateKeys());
    const questions = Array.from({ length: 8 }, () => {
      using exchange = new BlindedExchange(serverKey, clientKey);
      return Buffer.from(exchange.blinded.x).toString("hex");
    });
    expect(new Set(questions).size).toBe(8);
  });

  test("recovers the token's half itself from a server whose secret is one", () => {
    const one = new Uint8Array(curve.coordinateBytes);
    one[one.length - 1] = 1;
    const unit = createECDH(curve.nodeName);
    unit.setPrivateKey(one);
    const clientKey = keyOf(curve, createECDH(curve.nodeName).generateKeys());
    using exchange = new BlindedExchange(keyOf(curve, unit.getPublicKey()), clientKey);
    const candidates = candidatesFor(exchange, exchange.blinded); // Y = 1·X
    expect(candidates).toContain(Buffer.from(clientKey.x).toString("hex"));
  });
});

test("an ephemeral key agrees on nothing after its scope", () => {
  const [curve] = curves;
  if (!curve) throw new Error("no curve");
  const key = new EphemeralKey(curve);
  const other = new EphemeralKey(curve);
  using before = key.agree(other.publicKey);
  key[Symbol.dispose]();
  using after = key.agree(other.publicKey);
  expect(before.equals(after)).toBe(false);
  expect(Buffer.from(after.bytes).equals(other.publicKey.x)).toBe(true); // one times it
});
