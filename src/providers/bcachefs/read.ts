import type { BlockReader } from "../../system/block-devices.ts";
import { asLatchkeyError, LatchkeyError } from "../../system/errors.ts";
import { absent, damaged } from "./identity.ts";
import {
  LAYOUT_BYTES,
  LAYOUT_SECTOR,
  PRIMARY_SECTOR,
  parseLayout,
  SECTOR_BYTES,
  type SuperblockLayout,
} from "./layout.ts";
import { checkChecksum, HEADER_BYTES, parseFields, parseHeader, type Superblock } from "./superblock.ts";

/**
 * Bytes read in whole copies of one device, all together. One superblock of the largest legal size (32 MiB) fits; real
 * ones have some kilobytes. Bounds the memory and time that a hostile layout with 61 huge copies could cost.
 */
const MAXIMUM_BYTES_READ = 40 * 1024 * 1024;
/** How many different reasons the message of a hopeless device gives. */
const REASONS_GIVEN = 3;
/** How many copies it names for each. */
const SECTORS_NAMED = 4;

/** One copy of the superblock, and how it fared. */
export interface CopyReport {
  readonly sector: bigint;
  /** Unknown when the header is bad. */
  readonly sequence: bigint | undefined;
  /** Why it cannot be used; undefined for a good copy and for one that was not newer and so not read in full. */
  readonly problem: string | undefined;
}

export interface SuperblockReading {
  /** The valid copy with the highest sequence number. */
  readonly superblock: Superblock;
  /** The primary first, then in the order of the layout. */
  readonly copies: readonly CopyReport[];
}

interface Copy {
  readonly sector: bigint;
  sequence?: bigint;
  /** Known once header and checksum are good. */
  layout?: SuperblockLayout;
  superblock?: Superblock;
  error?: LatchkeyError;
}

/**
 * Finds the superblock that counts, as bch2_read_super of fs/sb/io.c and src/wrappers/super_io.rs do since 1.39: the
 * layout comes from the primary or else from sector 7, every copy is looked at, and the valid one with the highest
 * sequence number wins. Going on to the next copy when the winner's fields are bad is ours, and harmless.
 * @param everyCopy read all copies in full, to report on each
 * @throws LatchkeyError bcachefs/not-bcachefs, bcachefs/superblock-damaged, bcachefs/unsupported, device/unreadable
 */
export async function readSuperblock(reader: BlockReader, everyCopy = false): Promise<SuperblockReading> {
  const search = new CopySearch(reader);
  const primary = await search.readInFull(await search.readHeader(PRIMARY_SECTOR));
  const copies = [primary];
  let layoutError: LatchkeyError | undefined;
  try {
    const layout = primary.layout ?? (await readLayoutSector(reader));
    for (const sector of layout.sectors) {
      if (sector !== PRIMARY_SECTOR) copies.push(await search.readHeader(sector));
    }
  } catch (thrown) {
    layoutError = asLatchkeyError(thrown);
  }
  for (const copy of newestFirst(copies)) {
    const best = newestGood(copies);
    if (everyCopy || !best || (copy.sequence ?? 0n) > best.sequence) await search.readInFull(copy);
  }
  const superblock = newestGood(copies);
  if (!superblock) throw hopeless(reader.path, copies, layoutError);
  return {
    superblock,
    copies: copies.map(({ sector, sequence, error }) => ({ sector, sequence, problem: error?.message })),
  };
}

async function readLayoutSector(reader: BlockReader): Promise<SuperblockLayout> {
  return parseLayout(await reader.readAt(LAYOUT_SECTOR * SECTOR_BYTES, LAYOUT_BYTES));
}

/** Ties keep the order of the layout: the content is the same. */
function newestFirst(copies: readonly Copy[]): readonly Copy[] {
  return copies.toSorted(({ sequence: a = 0n }, { sequence: b = 0n }) => (a < b ? 1 : a > b ? -1 : 0));
}

function newestGood(copies: readonly Copy[]): Superblock | undefined {
  let newest: Superblock | undefined;
  for (const { superblock } of copies) {
    if (superblock && (!newest || superblock.sequence > newest.sequence)) newest = superblock;
  }
  return newest;
}

/** Reads copies of one device within one allowance of bytes. What is wrong with a copy stays with that copy. */
class CopySearch {
  readonly #reader: BlockReader;
  #bytesLeft = MAXIMUM_BYTES_READ;

  constructor(reader: BlockReader) {
    this.#reader = reader;
  }

  async readHeader(sector: bigint): Promise<Copy> {
    const copy: Copy = { sector };
    try {
      copy.sequence = parseHeader(await this.#read(sector, HEADER_BYTES), sector).sequence;
    } catch (thrown) {
      copy.error = asLatchkeyError(thrown);
    }
    return copy;
  }

  /** Takes everything from one read, the header once more: a device that changes between reads gains nothing. */
  async readInFull(copy: Copy): Promise<Copy> {
    if (copy.error || copy.superblock) return copy;
    try {
      const { totalBytes } = parseHeader(await this.#read(copy.sector, HEADER_BYTES), copy.sector);
      if (totalBytes > this.#bytesLeft) throw damaged("not read, the copies are larger than any real superblock");
      this.#bytesLeft -= totalBytes;
      const bytes = await this.#read(copy.sector, totalBytes);
      const header = parseHeader(bytes, copy.sector);
      if (header.totalBytes !== totalBytes) throw damaged("the superblock changed while it was read");
      checkChecksum(bytes, header);
      copy.layout = header.layout;
      copy.sequence = header.sequence;
      copy.superblock = parseFields(bytes, header);
    } catch (thrown) {
      copy.error = asLatchkeyError(thrown);
    }
    return copy;
  }

  async #read(sector: bigint, length: number): Promise<Uint8Array> {
    const offset = sector * BigInt(SECTOR_BYTES);
    if (offset >= BigInt(this.#reader.size)) throw absent("it lies beyond the end of the device");
    const bytes = await this.#reader.readAt(Number(offset), length);
    if (bytes.length < length) throw damaged("the device ends inside the superblock");
    return bytes;
  }
}

/** The one line that says why no copy can be used. */
function hopeless(path: string, copies: readonly Copy[], layoutError: LatchkeyError | undefined): LatchkeyError {
  const found = copies.flatMap(({ sector, error }) => (error ? [{ sector, error }] : []));
  const failures = layoutError ? [...found, { sector: LAYOUT_SECTOR, error: layoutError }] : found;
  const unreadable = failures.find(({ error }) => error.code.startsWith("device/"));
  if (unreadable) return unreadable.error;
  if (layoutError && failures.every(({ error }) => error.code === "bcachefs/not-bcachefs")) {
    return new LatchkeyError("bcachefs/not-bcachefs", `${path} holds no bcachefs superblock`, {
      hint: "is it the device that was meant, and not formatted anew? `blkid` tells what it holds",
    });
  }
  const bySentence = Map.groupBy(failures, ({ error }) => error.message);
  const reasons = [...bySentence].slice(0, REASONS_GIVEN).map(([message, those]) => {
    const sectors = those.slice(0, SECTORS_NAMED).map(({ sector }) => sector.toString());
    if (those.length > SECTORS_NAMED) sectors.push(`${those.length - SECTORS_NAMED} more`);
    return `sector ${sectors.join(", ")}: ${message}`;
  });
  if (bySentence.size > REASONS_GIVEN) reasons.push(`and ${bySentence.size - REASONS_GIVEN} more`);
  const isUnsupported = failures.some(({ error }) => error.code === "bcachefs/unsupported");
  return new LatchkeyError(
    isUnsupported ? "bcachefs/unsupported" : "bcachefs/superblock-damaged",
    `no usable bcachefs superblock on ${path}: ${reasons.join("; ")}`,
    {
      hint: isUnsupported
        ? "a newer latchkey may know it; `bcachefs unlock` and `bcachefs mount` do without latchkey"
        : "other members have copies of their own; newer bcachefs-tools make this one anew from a copy (`bcachefs recover-super`)",
    },
  );
}
