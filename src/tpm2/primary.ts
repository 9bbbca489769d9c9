import type { KeyObject } from "node:crypto";
import { LatchkeyError } from "../system/errors.ts";
import { ALG, type Curve, curves, type NameHash } from "./algorithms.ts";
import type { TpmChannel } from "./channel.ts";
import { answerReader, commands, type NamedHandle } from "./commands.ts";
import { objectName } from "./public-area.ts";
import { RC, TpmResponseError } from "./response-codes.ts";
import { concat, hex, sameBytes, sized, u16, u32, type WireReader } from "./wire.ts";

/** fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, decrypt: a storage key (Part 2 section 8.3). */
const STORAGE_KEY_ATTRIBUTES = 0x00030072;
/** RSA exponent 0 stands for this one (Part 2 section 12.2.3.5). */
const DEFAULT_EXPONENT = 65537;

type KeyShape = { readonly type: "ecc"; readonly curve: Curve } | { readonly type: "rsa"; readonly bits: number };

/** The primary key a token hangs on, as its `key` and `hash` describe it: same seed and same template, same key. */
export interface PrimaryTemplate {
  readonly hash: NameHash;
  readonly shape: KeyShape;
  /** TPMT_PUBLIC with an empty unique field. */
  readonly area: Uint8Array;
}

/**
 * The template tpm2_createprimary makes of its -g and -G (tpm2-tools lib/tpm2_alg_util.c). clevis hands both strings on
 * unchanged; these are the ones that occur.
 * @param key `ecc`, `rsa`, `ecc384`, `rsa3072`, `ecc:aes256cfb`, `rsa2048:null:aes128cfb`
 * @throws LatchkeyError token/unsupported: an installed clevis may know it
 */
export function primaryTemplate(key: string, hash: NameHash): PrimaryTemplate {
  const [name = "", ...details] = key.split(":");
  const shape = keyShape(name);
  if (details[0] === "null") details.shift(); // its scheme
  const [cipher = "aes128cfb", ...others] = details;
  const cipherBits = cipherBitsOf.get(cipher);
  if (!shape || cipherBits === undefined || others.length > 0) {
    throw new LatchkeyError("token/unsupported", `latchkey does not know the key type ${JSON.stringify(key)}`);
  }
  const common = concat(
    u16(shape.type === "ecc" ? ALG.ecc : ALG.rsa),
    u16(hash.id),
    u32(STORAGE_KEY_ATTRIBUTES),
    sized(new Uint8Array()), // no policy
    u16(ALG.aes),
    u16(cipherBits),
    u16(ALG.cfb),
    u16(ALG.null), // a storage key has no scheme
  );
  const own =
    shape.type === "ecc"
      ? concat(u16(shape.curve.id), u16(ALG.null), u16(0), u16(0)) // curve, no kdf, x, y
      : concat(u16(shape.bits), u32(0), u16(0)); // size, default exponent, n
  return { hash, shape, area: concat(common, own) };
}

/** Those of a storage key's own cipher. */
const cipherBitsOf = new Map([
  ["aes128cfb", 128],
  ["aes192cfb", 192],
  ["aes256cfb", 256],
]);

/** `ecc`, `ecc384`, `rsa`, `rsa3072` */
function keyShape(name: string): KeyShape | undefined {
  const size = name.slice(3);
  if (name.startsWith("ecc")) {
    const isCurve = Object.hasOwn(curves, size || "256");
    return isCurve ? { type: "ecc", curve: curves[Number(size || "256") as keyof typeof curves] } : undefined;
  }
  const isRsa = name.startsWith("rsa") && ["", "2048", "3072", "4096"].includes(size);
  return isRsa ? { type: "rsa", bits: Number(size || 2048) } : undefined;
}

/**
 * Linux keeps three objects for each user of /dev/tpmrm0 (context_tbl in drivers/char/tpm/tpm2-space.c), and answers the
 * fourth with ENOMEM and the loss of all: so these, and the one that is being opened.
 */
const MAX_LOADED_PRIMARIES = 2;

/** What the salt of a session is encrypted to. */
export type PrimaryPublicKey =
  /** Coordinates in full length; `x` also as the TPM sent it. */
  | { readonly type: "ecc"; readonly curve: Curve; readonly point: Uint8Array<ArrayBuffer>; readonly x: Uint8Array }
  | { readonly type: "rsa"; readonly key: KeyObject };

/** A primary key that is loaded in the TPM. */
export interface PrimaryKey extends NamedHandle {
  readonly hash: NameHash;
  readonly publicKey: PrimaryPublicKey;
}

/**
 * The primaries of one connection, each made once: making one is the slow part of opening a token. They stay loaded until
 * the connection ends or their room is needed.
 */
export class Primaries {
  readonly #channel: TpmChannel;
  readonly #loaded = new Map<string, PrimaryKey>();

  constructor(channel: TpmChannel) {
    this.#channel = channel;
  }

  /** @throws LatchkeyError what CreatePrimary answered */
  async get(template: PrimaryTemplate, signal: AbortSignal): Promise<PrimaryKey> {
    const id = hex(template.area);
    const known = this.#loaded.get(id);
    if (known) return known;
    const [oldest] = this.#loaded.keys();
    if (oldest !== undefined && this.#loaded.size >= MAX_LOADED_PRIMARIES) await this.#unload(oldest);
    const made = await this.withRoom(undefined, async () => {
      const command = commands.createPrimary(template.area);
      const answer = await this.#channel.execute(command, signal, "password");
      return await parsePrimary(template, answer.handle, answerReader(command.name, answer.parameters));
    });
    this.#loaded.set(id, made);
    return made;
  }

  /**
   * Runs `work`; when the TPM has no room for one more object, unloads the other primaries and runs it once more: without
   * a resource manager the room is shared with everybody's leftovers.
   */
  async withRoom<T>(needed: PrimaryKey | undefined, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const others = [...this.#loaded].filter(([, primary]) => primary !== needed);
      const isFull = error instanceof TpmResponseError && (error.rc & 0xfff) === RC.objectMemory;
      if (!isFull || others.length === 0) throw error;
      for (const [id] of others) await this.#unload(id);
      return await work();
    }
  }

  async #unload(id: string): Promise<void> {
    const primary = this.#loaded.get(id);
    this.#loaded.delete(id);
    if (primary) await this.#channel.flush(primary.handle);
  }
}

/**
 * The public key in the answer to CreatePrimary. That it is the TPM's own cannot be proved here: without the certificate of
 * an endorsement key, somebody who can replace answers on the bus can put in a key of his. A session salted to it keeps out
 * who listens, and who alters later messages, and nobody else.
 */
async function parsePrimary(template: PrimaryTemplate, handle: number, reader: WireReader): Promise<PrimaryKey> {
  const area = reader.sized(); // creation data, hash, ticket and name follow; the Name is computed here instead
  const own = answerReader("CreatePrimary", area);
  const uniqueFields = template.shape.type === "ecc" ? 4 : 2;
  const exponent = template.shape.type === "rsa" ? 4 : 0;
  const fixed = template.area.length - uniqueFields - exponent;
  if (!sameBytes(own.bytes(Math.min(fixed, own.remaining)), template.area.subarray(0, fixed))) {
    throw own.fail("it is not the key that was asked for");
  }
  const { shape } = template;
  const publicKey = shape.type === "ecc" ? eccKey(shape.curve, own) : await rsaKey(shape.bits, own);
  own.end();
  return { handle, name: objectName(template.hash, area), hash: template.hash, publicKey };
}

function eccKey(curve: Curve, reader: WireReader): PrimaryPublicKey {
  const x = reader.sized();
  const y = reader.sized();
  if (x.length > curve.size || y.length > curve.size) throw reader.fail("its point is larger than its curve");
  // Uncompressed, SEC 1 section 2.3.3. That it lies on the curve is checked where it is used.
  const point = new Uint8Array(1 + 2 * curve.size);
  point[0] = 4;
  point.set(x, 1 + curve.size - x.length);
  point.set(y, point.length - y.length);
  return { type: "ecc", curve, point, x };
}

async function rsaKey(bits: number, reader: WireReader): Promise<PrimaryPublicKey> {
  const exponent = reader.u32();
  if (exponent !== 0 && exponent !== DEFAULT_EXPONENT) throw reader.fail("its exponent is not the one asked for");
  const modulus = reader.sized();
  if (modulus.length !== bits / 8) throw reader.fail("its modulus has another size than asked for");
  try {
    const { createPublicKey } = await import("node:crypto"); // milliseconds, so only for such a key
    const n = Buffer.from(modulus).toString("base64url");
    return { type: "rsa", key: createPublicKey({ key: { kty: "RSA", n, e: "AQAB" }, format: "jwk" }) };
  } catch {
    throw reader.fail("its modulus is not one");
  }
}
