import type { BlockReader } from "../../system/block-devices.ts";

/** UEFI Specification 2.10, section 5.3: the header in the block after the first, and its entries. */
const GPT = {
  signature: "EFI PART",
  headerSize: 12,
  checksum: 16,
  entriesAt: 72,
  entryCount: 80,
  entrySize: 84,
  leastHeader: 92,
  mostHeader: 512,
  leastEntry: 128,
  mostEntry: 4096,
  mostEntries: 1024,
  uniqueGuid: 16,
} as const;

/** The classic table: four entries before the signature, the disk's number before them. */
const MBR = { diskNumber: 440, entries: 446, entryBytes: 16, entryType: 4, signature: 510, protective: 0xee } as const;

const BLOCK_SIZES = [512, 4096] as const;

/**
 * The UUID of a partition as blkid and udev write it (PARTUUID), read from the partition table itself: a GUID in lower case, or
 * the disk's number and the partition's, `1a2b3c4d-01`. Undefined where the table has none.
 * @param disk the whole disk, not the partition
 */
export async function partitionUuid(disk: BlockReader, partition: number): Promise<string | undefined> {
  const first = await disk.readAt(0, 512);
  if (first.length < 512 || first[MBR.signature] !== 0x55 || first[MBR.signature + 1] !== 0xaa) return undefined;
  if (hasProtectiveEntry(first)) return await gptUuid(disk, partition);
  const number = viewOf(first).getUint32(MBR.diskNumber, true);
  if (number === 0) return undefined;
  return `${hex(number, 8)}-${hex(partition, 2)}`;
}

function hasProtectiveEntry(first: Uint8Array): boolean {
  return [0, 1, 2, 3].some((index) => first[MBR.entries + index * MBR.entryBytes + MBR.entryType] === MBR.protective);
}

async function gptUuid(disk: BlockReader, partition: number): Promise<string | undefined> {
  for (const blockSize of BLOCK_SIZES) {
    const header = await disk.readAt(blockSize, GPT.mostHeader);
    if (!isSoundHeader(header)) continue;
    const view = viewOf(header);
    const [count, size] = [view.getUint32(GPT.entryCount, true), view.getUint32(GPT.entrySize, true)];
    const start = Number(view.getBigUint64(GPT.entriesAt, true)) * blockSize + (partition - 1) * size;
    if (partition < 1 || partition > Math.min(count, GPT.mostEntries)) return undefined;
    if (size < GPT.leastEntry || size > GPT.mostEntry || !Number.isSafeInteger(start)) return undefined;
    const entry = await disk.readAt(start, GPT.leastEntry);
    if (entry.length < GPT.leastEntry || entry.subarray(0, 16).every((byte) => byte === 0)) return undefined;
    return guidText(entry.subarray(GPT.uniqueGuid, GPT.uniqueGuid + 16));
  }
  return undefined;
}

function isSoundHeader(header: Uint8Array): boolean {
  if (header.length < GPT.mostHeader) return false;
  const view = viewOf(header);
  const size = view.getUint32(GPT.headerSize, true);
  if (String.fromCharCode(...header.subarray(0, 8)) !== GPT.signature) return false;
  if (size < GPT.leastHeader || size > GPT.mostHeader) return false;
  const zeroed = header.slice(0, size).fill(0, GPT.checksum, GPT.checksum + 4); // as it was when the checksum was made
  return Bun.hash.crc32(zeroed) === view.getUint32(GPT.checksum, true);
}

/** The first three fields are little-endian, the rest stands as it is (UEFI, appendix A). */
function guidText(bytes: Uint8Array): string {
  const view = viewOf(bytes);
  const rest = bytes.subarray(8).toHex();
  return [
    hex(view.getUint32(0, true), 8),
    hex(view.getUint16(4, true), 4),
    hex(view.getUint16(6, true), 4),
    rest.slice(0, 4),
    rest.slice(4),
  ].join("-");
}

function hex(number: number, digits: number): string {
  return number.toString(16).padStart(digits, "0");
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
