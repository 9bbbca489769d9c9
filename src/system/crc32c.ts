let crc32cTable: Uint32Array | undefined;

/** Reflected Castagnoli polynomial, RFC 3720 appendix B.4. */
function makeCrc32cTable(): Uint32Array {
  const table = new Uint32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let word = byte;
    for (let bit = 0; bit < 8; bit++) word = word & 1 ? (word >>> 1) ^ 0x82f63b78 : word >>> 1;
    table[byte] = word;
  }
  return table;
}

/**
 * CRC-32C without its final inversion, as bcachefs and btrfs use it.
 * @param start the usual form begins with all ones, and its result is inverted
 */
export function crc32c(data: Uint8Array, start: number): number {
  crc32cTable ??= makeCrc32cTable();
  const table = crc32cTable;
  let crc = start | 0;
  for (let index = 0; index < data.length; index++) {
    crc = (crc >>> 8) ^ (table[(crc ^ (data[index] ?? 0)) & 0xff] ?? 0);
  }
  return crc >>> 0;
}
