import { timingSafeEqual } from "node:crypto";
import type { SecretBytes } from "../system/secret-bytes.ts";

/** SHA-256 over exactly these bytes, 64 hexadecimal digits in lower case. */
export function checksumOf(content: SecretBytes): string {
  return Bun.SHA256.hash(content.bytes, "hex");
}

/**
 * Is it what the configuration says? Compared in constant time.
 * @param expected 64 hexadecimal digits
 */
export function hasChecksum(content: SecretBytes, expected: string): boolean {
  const [is, wanted] = [Buffer.from(checksumOf(content), "hex"), Buffer.from(expected, "hex")];
  return is.length === wanted.length && timingSafeEqual(is, wanted);
}
