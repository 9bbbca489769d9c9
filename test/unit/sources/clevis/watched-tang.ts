import { createECDH, ECDH } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { inverseModulo, modulo, toBigInt } from "../../../../src/jose/curves.ts";
import { type EcPublicKey, parseEcPublicKey, uncompressedPoint } from "../../../../src/jose/ec-jwk.ts";
import { fixtures } from "./fixtures.ts";
import { startTangd } from "./tangd.ts";

/**
 * A real tangd behind a relay that knows the server's private key and keeps the questions: so a test can compute what only a
 * client should ever know.
 */
export class WatchedTang implements Disposable {
  readonly url: string;
  readonly #questions: EcPublicKey[] = [];
  readonly #tangd: Disposable;
  readonly #relay: Disposable;
  readonly #privateKey: Buffer;

  constructor(name: "c" | "d") {
    const keys = join(fixtures, "tang", name);
    const exchange = readdirSync(keys)
      .map((file) => JSON.parse(readFileSync(join(keys, file), "utf8")) as { alg: string; d: string })
      .find(({ alg }) => alg === "ECMR");
    this.#privateKey = Buffer.from(exchange?.d ?? "", "base64url");
    const tangd = startTangd(keys);
    const relay = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: async (request) => {
        const target = `http://127.0.0.1:${tangd.port}${new URL(request.url).pathname}`;
        if (request.method === "GET") return await fetch(target);
        const body = await request.text();
        this.#questions.push(parseEcPublicKey(JSON.parse(body), "the question"));
        return await fetch(target, { method: "POST", body, headers: { "content-type": "application/jwk+json" } });
      },
    });
    this.#tangd = tangd;
    this.#relay = { [Symbol.dispose]: () => void relay.stop(true) };
    this.url = `http://127.0.0.1:${relay.port}`;
  }

  /** x of server times point: what both sides of the token agree on. */
  agreedWith(point: EcPublicKey): Buffer {
    const server = createECDH(point.curve.nodeName);
    server.setPrivateKey(this.#privateKey);
    return server.computeSecret(uncompressedPoint(point));
  }

  /** x, and y or minus y, of e·S for each question X = C + E asked so far: the server finds it as s·(X − C). */
  blindingPoints(client: EcPublicKey): readonly (readonly [x: Buffer, y: Buffer])[] {
    const { curve } = client;
    return this.#questions.map((question) => {
      const x = this.agreedWith(difference(question, client));
      const compressed = Buffer.concat([Uint8Array.of(2), x]);
      const point = ECDH.convertKey(compressed, curve.nodeName, undefined, undefined, "uncompressed") as Buffer;
      return [x, point.subarray(1 + x.length)];
    });
  }

  [Symbol.dispose](): void {
    this.#relay[Symbol.dispose]();
    this.#tangd[Symbol.dispose]();
  }
}

function difference(left: EcPublicKey, right: EcPublicKey): EcPublicKey {
  const { p, coordinateBytes } = left.curve;
  const [x1, y1, x2, y2] = [left.x, left.y, right.x, right.y].map(toBigInt) as [bigint, bigint, bigint, bigint];
  const slope = (-y2 - y1) * (inverseModulo(x2 - x1, p) ?? 0n);
  const x = modulo(slope * slope - x1 - x2, p);
  const y = modulo(slope * (x1 - x) - y1, p);
  const octets = (value: bigint): Buffer => Buffer.from(value.toString(16).padStart(2 * coordinateBytes, "0"), "hex");
  return { curve: left.curve, x: octets(x), y: octets(y) };
}
