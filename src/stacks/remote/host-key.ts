import { createHash } from "node:crypto";

/** `SHA256:…` as ssh and ssh-keygen show it: unpadded base64 of the hash of the public key (RFC 4253 section 6.6). */
export function fingerprint(publicKey: Uint8Array): string {
  return `SHA256:${createHash("sha256").update(publicKey).digest("base64").replace(/=+$/, "")}`;
}

/** No key file is larger. */
const MOST_OCTETS = 64 * 1024;

const OPENSSH_BEGIN = "-----BEGIN OPENSSH PRIVATE KEY-----";
const OPENSSH_END = "-----END OPENSSH PRIVATE KEY-----";
const OPENSSH_MAGIC = "openssh-key-v1\0";

/**
 * The public key inside a host key file, of OpenSSH (PROTOCOL.key, where it stands in clear) or of dropbear (its own format: the
 * public fields first, then the private ones).
 * @returns undefined for what is neither
 */
export function publicKeyOf(file: Uint8Array): Uint8Array | undefined {
  if (file.length > MOST_OCTETS) return undefined;
  try {
    const text = Buffer.from(file.buffer, file.byteOffset, file.length).toString("latin1");
    return text.startsWith(OPENSSH_BEGIN) ? ofOpenssh(text) : ofDropbear(file);
  } catch {
    return undefined; // cut off, or something else altogether
  }
}

function ofOpenssh(text: string): Uint8Array | undefined {
  const body = text.slice(OPENSSH_BEGIN.length, text.indexOf(OPENSSH_END)).replace(/\s+/g, "");
  const bytes = Buffer.from(body, "base64");
  if (bytes.subarray(0, OPENSSH_MAGIC.length).toString("latin1") !== OPENSSH_MAGIC) return undefined;
  const fields = new Fields(bytes.subarray(OPENSSH_MAGIC.length));
  fields.next(); // cipher
  fields.next(); // key derivation
  fields.next(); // its options
  return fields.number() === 1 ? fields.next() : undefined;
}

/** How many fields after the type are public, and how much of each: of an Ed25519 key the second half of its one field. */
function ofDropbear(bytes: Uint8Array): Uint8Array | undefined {
  const fields = new Fields(bytes);
  const type = fields.next();
  const name = Buffer.from(type).toString("latin1");
  if (name === "ssh-ed25519") {
    const both = fields.next();
    return both.length === 64 ? joined([type, both.subarray(32)]) : undefined;
  }
  if (name !== "ssh-rsa" && !name.startsWith("ecdsa-sha2-")) return undefined;
  return joined([type, fields.next(), fields.next()]);
}

/** RFC 4251 section 5: numbers of four octets, and strings with such a length in front. */
class Fields {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** @throws RangeError at the end */
  number(): number {
    const value = this.#view.getUint32(this.#at);
    this.#at += 4;
    return value;
  }

  /** @throws RangeError at the end */
  next(): Uint8Array {
    const length = this.number();
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new RangeError("cut off");
    const field = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return field;
  }
}

function joined(fields: readonly Uint8Array[]): Uint8Array {
  const whole = Buffer.alloc(fields.reduce((sum, field) => sum + 4 + field.length, 0));
  let at = 0;
  for (const field of fields) {
    at = whole.writeUInt32BE(field.length, at);
    whole.set(field, at);
    at += field.length;
  }
  return whole;
}
