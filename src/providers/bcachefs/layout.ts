import { absent, damaged, isMagic } from "./identity.ts";

export const SECTOR_BYTES = 512;
/** BCH_SB_LAYOUT_SECTOR: where a copy of the layout lies outside every superblock. */
export const LAYOUT_SECTOR = 7;
export const LAYOUT_BYTES = 512;
/** BCH_SB_SECTOR: the primary superblock. */
export const PRIMARY_SECTOR = 8n;

const MAXIMUM_COPIES = 61;
/** BCH_SB_LAYOUT_SIZE_BITS_MAX: 2^16 sectors, 32 MiB. */
const MAXIMUM_LOG2_SECTORS = 16;

/** Where the copies of the superblock are, and how large each may be. */
export interface SuperblockLayout {
  /** Bytes. */
  readonly maximumSuperblockBytes: number;
  /** Ascending. May lie beyond the end of the device: whoever reads checks that. */
  readonly sectors: readonly bigint[];
}

/**
 * Checks what validate_sb_layout of fs/sb/io.c checks.
 * @param bytes the 512 bytes of sector 7, or those at 240 in a superblock
 * @throws LatchkeyError bcachefs/superblock-damaged
 */
export function parseLayout(bytes: Uint8Array): SuperblockLayout {
  if (bytes.length < LAYOUT_BYTES) throw absent("the device ends before the superblock layout");
  const view = new DataView(bytes.buffer, bytes.byteOffset, LAYOUT_BYTES);
  if (!isMagic(bytes)) throw absent("the superblock layout has no bcachefs magic");
  const type = view.getUint8(16);
  if (type !== 0) throw damaged(`the superblock layout has the unknown type ${type}`);
  const log2Sectors = view.getUint8(17);
  if (log2Sectors > MAXIMUM_LOG2_SECTORS) {
    throw damaged(`the superblock layout allows 2^${log2Sectors} sectors, the most is 2^${MAXIMUM_LOG2_SECTORS}`);
  }
  const count = view.getUint8(18);
  if (count === 0 || count > MAXIMUM_COPIES) {
    throw damaged(`the superblock layout names ${count} copies, the limit is ${MAXIMUM_COPIES}`);
  }
  const sectors: bigint[] = [];
  for (let index = 0; index < count; index++) {
    const sector = view.getBigUint64(24 + 8 * index, true);
    const previous = sectors.at(-1);
    if (previous !== undefined && sector < previous + (1n << BigInt(log2Sectors))) {
      throw damaged(`the superblock layout lets copy ${index} overlap copy ${index - 1}`);
    }
    sectors.push(sector);
  }
  return { maximumSuperblockBytes: SECTOR_BYTES * 2 ** log2Sectors, sectors };
}
