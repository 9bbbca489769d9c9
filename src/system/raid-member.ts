import type { BlockReader } from "./block-devices.ts";

/** What marks a disk as a member of an array, at its end: what the array holds then begins where the disk does. */
interface Mark {
  /** Octets from the start of a device of this size. */
  readonly at: (size: number) => number;
  readonly bytes: Uint8Array;
}

const SECTOR = 512;
const KIBIBYTE = 1024;

/** md_p.h: the magic number, then the major version, in 32 bits each, little-endian on all that latchkey runs on. */
const mdMagic = (version: number): Uint8Array => Uint8Array.of(0xfc, 0x4e, 0x2b, 0xa9, version, 0, 0, 0);

/** Those that libblkid knows at the end of a disk and that Linux makes arrays of; mdadm(8), --metadata. */
const MARKS: readonly Mark[] = [
  // 0.90: in the last whole 64 KiB.
  { at: (size) => Math.floor(size / (64 * KIBIBYTE)) * 64 * KIBIBYTE - 64 * KIBIBYTE, bytes: mdMagic(0) },
  // 1.0: 8 KiB before the end, on a multiple of 4 KiB.
  { at: (size) => Math.floor((Math.floor(size / SECTOR) - 16) / 8) * 8 * SECTOR, bytes: mdMagic(1) },
  // imsm: in the last sector but one, whatever a sector is there.
  ...[SECTOR, 4096].map((sector) => ({
    at: (size: number) => (Math.floor(size / sector) - 2) * sector,
    bytes: new TextEncoder().encode("Intel Raid ISM Cfg Sig. "),
  })),
  // DDF: in the last sector, or 257 sectors before the end.
  ...[1, 257].map((sectors) => ({
    at: (size: number) => (Math.floor(size / SECTOR) - sectors) * SECTOR,
    bytes: Uint8Array.of(0xde, 0x11, 0xde, 0x11),
  })),
];

/**
 * Is a device a member of an array whose metadata lie at its end? Whatever is seen at its start is the array's, and opening it
 * there would set the members apart. (With metadata at the start nothing else is seen there.)
 * @throws LatchkeyError device/unreadable
 */
export async function isRaidMember(reader: Pick<BlockReader, "size" | "readAt">): Promise<boolean> {
  for (const { at, bytes } of MARKS) {
    const offset = at(reader.size);
    if (offset < 0) continue;
    const found = await reader.readAt(offset, bytes.length);
    if (Buffer.compare(found, bytes) === 0) return true;
  }
  return false;
}
