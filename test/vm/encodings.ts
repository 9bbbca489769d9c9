/** The forms in which a secret may lie in memory. */

export interface Form {
  readonly encoding: string;
  readonly bytes: Uint8Array;
  /** How many of these bytes hold twelve bytes of the secret: shorter pieces are not looked for. */
  readonly shortest: number;
}

/** Twelve bytes in a row are no chance: a gigabyte holds any given ones with a probability of 10⁻²⁰. */
export const SHORTEST_PIECE = 12;

/** The two pads of HMAC (RFC 2104): a key lies in memory XORed with them while PBKDF2 and scrypt use it. */
const HMAC_PADS = { "HMAC inner pad": 0x36, "HMAC outer pad": 0x5c } as const;

/** Every form of a secret that is searched for, each once. */
export function formsOf(secret: Uint8Array): readonly Form[] {
  const piece = Math.min(SHORTEST_PIECE, secret.length);
  const forms: Form[] = [];
  const seen = new Set<string>();
  const add = (encoding: string, bytes: Uint8Array, shortest: number): void => {
    const key = Buffer.from(bytes).toString("latin1");
    if (seen.has(key) || bytes.length < shortest) return;
    seen.add(key);
    forms.push({ encoding, bytes, shortest });
  };
  add("raw", secret, piece);
  for (const text of textsOf(secret)) {
    add("UTF-8", Buffer.from(text), piece);
    add("UTF-16LE", wide(text, 2, true), piece * 2);
    add("UTF-16BE", wide(text, 2, false), piece * 2);
    add("UTF-32LE", wide(text, 4, true), piece * 4);
    add("UTF-32BE", wide(text, 4, false), piece * 4);
    for (const [encoding, escaped] of escapedForms(text)) add(encoding, Buffer.from(escaped), piece);
  }
  const hex = Buffer.from(secret).toString("hex");
  add("hexadecimal", Buffer.from(hex), piece * 2);
  add("hexadecimal, capitals", Buffer.from(hex.toUpperCase()), piece * 2);
  for (const alignment of [0, 1, 2]) {
    const standard = base64(secret, alignment);
    add(`base64, alignment ${alignment}`, Buffer.from(standard), piece);
    const url = standard.replaceAll("+", "-").replaceAll("/", "_");
    add(`base64url, alignment ${alignment}`, Buffer.from(url), piece);
  }
  add("reversed", Uint8Array.from(secret).reverse(), piece);
  for (const [encoding, pad] of Object.entries(HMAC_PADS))
    add(
      encoding,
      secret.map((byte) => byte ^ pad),
      piece,
    );
  return forms;
}

/** As text: UTF-8 where that is possible, and byte by byte, which is how a program without a locale reads it. */
function textsOf(secret: Uint8Array): readonly string[] {
  const bytewise = Buffer.from(secret).toString("latin1");
  try {
    return [new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(secret), bytewise];
  } catch {
    return [bytewise];
  }
}

function escapedForms(text: string): readonly (readonly [string, string])[] {
  const json = JSON.stringify(text).slice(1, -1);
  const units = (pattern: RegExp, replacement: (unit: string) => string): string => text.replace(pattern, replacement);
  const hexadecimal = (byte: number): string => byte.toString(16).padStart(2, "0");
  const bytesEscaped = (unit: string, prefix: string): string =>
    [...Buffer.from(unit)].map((byte) => prefix + hexadecimal(byte)).join("");
  return [
    ["JSON", json],
    ["JSON, ASCII", json.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)],
    ["percent-encoded", units(/[^A-Za-z0-9._~-]/gu, (unit) => bytesEscaped(unit, "%").toUpperCase())],
    [
      "form-encoded",
      units(/[^A-Za-z0-9._~-]/gu, (unit) => (unit === " " ? "+" : bytesEscaped(unit, "%").toUpperCase())),
    ],
    // As in the names of units and the values of /proc files.
    ["\\x-escaped", units(/[^A-Za-z0-9:_.]/gu, (unit) => bytesEscaped(unit, "\\x"))],
  ];
}

/** The characters of the text, each as a number of `width` bytes. */
function wide(text: string, width: 2 | 4, isLittleEndian: boolean): Uint8Array {
  const numbers =
    width === 2
      ? Array.from({ length: text.length }, (_, index) => text.charCodeAt(index))
      : [...text].map((character) => character.codePointAt(0) ?? 0);
  const bytes = Buffer.alloc(numbers.length * width);
  numbers.forEach((number, index) => {
    if (isLittleEndian) bytes.writeUIntLE(number, index * width, width);
    else bytes.writeUIntBE(number, index * width, width);
  });
  return bytes;
}

/**
 * The base64 characters that depend on the secret alone when `alignment` other bytes of the same group of three come before
 * it, whatever comes before and after.
 */
function base64(secret: Uint8Array, alignment: number): string {
  const text = Buffer.concat([new Uint8Array(alignment), secret]).toString("base64");
  const first = Math.ceil((alignment * 8) / 6);
  const end = Math.floor(((alignment + secret.length) * 8) / 6);
  return text.slice(first, end);
}
