import { isUtf8 } from "node:buffer";
import type { KeyFormat } from "../config/plan.ts";
import { LatchkeyError } from "../system/errors.ts";
import type { SecretBytes } from "../system/secret-bytes.ts";

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const WHITE_SPACE: ReadonlySet<number> = new Set([0x20, 0x09, LINE_FEED, CARRIAGE_RETURN]);

/**
 * The key in place of the file's bytes: shortened in place, so that the scope stays with its owner.
 * `raw`: as they are · `hex`: hexadecimal digits, white space between them ignored · `text`: one line of UTF-8, without the newline
 * (LF or CR LF) at its end: a passphrase as a person would type it.
 * @param what the file, for messages
 * @throws LatchkeyError key-file/bad-format
 */
export function decodeKey(content: SecretBytes, format: KeyFormat, what: string): SecretBytes {
  if (content.length === 0) throw badFormat(`${what} is empty`);
  switch (format) {
    case "raw":
      return content;
    case "hex":
      return fromHex(content, what);
    case "text":
      return fromText(content, what);
  }
}

/** Written over itself: two digits become one byte, and the place that is written is never ahead of the one that is read. */
function fromHex(content: SecretBytes, what: string): SecretBytes {
  const { bytes } = content;
  let digits = 0;
  for (const [index, byte] of bytes.entries()) {
    if (WHITE_SPACE.has(byte)) continue;
    const value = hexValue(byte);
    if (value === undefined) {
      throw badFormat(`${what} is to hold hexadecimal digits, and byte ${index + 1} of it is none`, {
        hint: 'a key that is used as it is has format = "raw"',
      });
    }
    bytes[digits >> 1] = digits % 2 === 0 ? value << 4 : (bytes[digits >> 1] ?? 0) | value;
    digits += 1;
  }
  if (digits % 2 === 1) throw badFormat(`${what} holds an odd number of hexadecimal digits: something is missing`);
  if (digits === 0) throw badFormat(`${what} holds no hexadecimal digits`);
  return content.truncate(digits / 2);
}

function hexValue(byte: number): number | undefined {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : undefined;
}

function fromText(content: SecretBytes, what: string): SecretBytes {
  const { bytes } = content;
  let length = bytes.length;
  if (bytes[length - 1] === LINE_FEED) length -= bytes[length - 2] === CARRIAGE_RETURN ? 2 : 1;
  const line = bytes.subarray(0, length);
  if (length === 0) throw badFormat(`${what} holds an empty line`);
  const hint =
    "bcachefs takes nothing else than one line of text; for a key of any bytes make a text of it, such as base64";
  if (line.includes(LINE_FEED)) throw badFormat(`${what} is to hold one line of text, and holds several`, { hint });
  if (line.includes(0)) throw badFormat(`${what} is to hold a line of text, and has a NUL byte in it`, { hint });
  if (!isUtf8(line)) throw badFormat(`${what} is to hold a line of text, and is no UTF-8`, { hint });
  return content.truncate(length);
}

function badFormat(message: string, details: { readonly hint?: string } = {}): LatchkeyError {
  return new LatchkeyError("key-file/bad-format", message, details);
}
