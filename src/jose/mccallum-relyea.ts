import { SecretBytes } from "../system/secret-bytes.ts";
import { type Curve, fromBigInt, inverseModulo, modulo, toBigInt } from "./curves.ts";
import type { EcPublicKey } from "./ec-jwk.ts";
import { EphemeralKey } from "./ephemeral-key.ts";
import { overwriteFreedMemory } from "./freed-memory.ts";
import { malformed } from "./malformed.ts";
import { PrimeField } from "./prime-field.ts";

/** SEC 1 section 2.3.3: a point by its x, of the two the one with the even y. */
const COMPRESSED_EVEN = 2;

/**
 * The client's side of one McCallum-Relyea exchange (tang's README, section "Recovery"). Wanted is K = s·C with the server's
 * secret s. The client sends X = C + E for a fresh E = e·G, the server answers Y = s·X, and K = Y − e·S. Neither the server
 * nor the wire learns C or K.
 */
export class BlindedExchange implements Disposable {
  /** X: the point to send. */
  readonly blinded: EcPublicKey;
  readonly #server: EcPublicKey;
  readonly #ephemeral: EphemeralKey;
  /** T = e·S or −T: x, then y. */
  #hiding: SecretBytes | undefined;

  /** Both points are on the same curve. */
  constructor(server: EcPublicKey, client: EcPublicKey) {
    this.#server = server;
    this.#ephemeral = new EphemeralKey(server.curve);
    this.blinded = addPublicPoints(client, this.#ephemeral.publicKey);
  }

  /**
   * Hands `open` the x coordinate of K, or of another point and then of K: ECDH gives T = e·S by its x alone, so Y − T and
   * Y + T are both candidates, and only K opens the token. The second one is computed when the first one did not open it.
   * @param open what it is given is wiped when it returns
   * @returns what `open` gave, undefined when neither opened anything
   */
  unblind<Opened>(answer: EcPublicKey, open: (agreed: SecretBytes) => Opened | undefined): Opened | undefined {
    this.prepare();
    return this.#hiding && openWithEither(this.#server.curve, answer, this.#hiding.bytes, open);
  }

  /** Does beforehand what needs no answer: milliseconds of arithmetic that fit into the wait for the server. */
  prepare(): void {
    if (this.#hiding) return;
    const { curve } = this.#server;
    const { ECDH } = require("node:crypto") as typeof import("node:crypto");
    using agreed = this.#ephemeral.agree(this.#server);
    using compressed = SecretBytes.allocate(1 + agreed.length);
    compressed.bytes[0] = COMPRESSED_EVEN;
    compressed.bytes.set(agreed.bytes, 1);
    // OpenSSL takes the square root that gives y; `convertKey` returns octets when no encoding is named.
    const point = ECDH.convertKey(compressed.bytes, curve.nodeName, undefined, undefined, "uncompressed") as Buffer;
    const hiding = SecretBytes.allocate(point.length - 1);
    hiding.bytes.set(point.subarray(1));
    point.fill(0);
    overwriteFreedMemory(point.length);
    this.#hiding = hiding;
  }

  [Symbol.dispose](): void {
    this.#hiding?.[Symbol.dispose]();
    this.#ephemeral[Symbol.dispose]();
  }
}

/** The x coordinates of A − T and A + T for secret T (x, then y): ((yA ± yT)/(xA − xT))² − xA − xT. */
function openWithEither<Opened>(
  curve: Curve,
  point: EcPublicKey,
  secret: Uint8Array,
  open: (agreed: SecretBytes) => Opened | undefined,
): Opened | undefined {
  const length = curve.coordinateBytes;
  using field = new PrimeField(curve.p, length);
  const pointX = field.read(point.x);
  const pointY = field.read(point.y);
  const secretX = field.read(secret.subarray(0, length));
  const secretY = field.read(secret.subarray(length));
  if (!pointX || !pointY || !secretX || !secretY) throw malformed("the answer has a coordinate beyond its field");
  const run = field.subtract(pointX, secretX);
  const minusBoth = field.subtract(field.subtract(field.element(), pointX), secretX);
  for (const isDifference of [true, false]) {
    const rise = isDifference ? field.add(pointY, secretY) : field.subtract(pointY, secretY);
    const slope = field.quotient(rise, run);
    if (!slope) throw malformed("the answer is no sum of points"); // an honest one with a probability of 2^-256
    using agreed = field.write(field.add(field.multiply(slope, slope), minusBoth));
    const opened = open(agreed);
    if (opened !== undefined) return opened;
  }
  return undefined;
}

/** The sum of two points that anybody may know. */
function addPublicPoints(left: EcPublicKey, right: EcPublicKey): EcPublicKey {
  const { curve } = left;
  const { p, coordinateBytes } = curve;
  const [x1, y1, x2, y2] = [toBigInt(left.x), toBigInt(left.y), toBigInt(right.x), toBigInt(right.y)];
  const inverse = inverseModulo(x2 - x1, p);
  if (inverse === undefined) throw malformed("the client key of the token is the ephemeral one"); // 2^-256
  const slope = (y2 - y1) * inverse;
  const x = modulo(slope * slope - x1 - x2, p);
  const y = modulo(slope * (x1 - x) - y1, p);
  return { curve, x: fromBigInt(x, coordinateBytes), y: fromBigInt(y, coordinateBytes) };
}
