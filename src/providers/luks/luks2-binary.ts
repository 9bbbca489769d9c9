import { createHash } from "node:crypto";
import type { BlockReader } from "../../system/block-devices.ts";
import { asLatchkeyError } from "../../system/errors.ts";
import { printable } from "../../system/on-disk.ts";
import { damagedHeader, type HeaderCopy, headerUuid } from "./header.ts";

/**
 * The binary header of LUKS2 On-Disk Format Specification 1.1.2, section 2.1, with its JSON area. There are two copies, the
 * second right behind the first; a sequence number tells the newer one.
 */
const BINARY_BYTES = 4096;
const AT = {
  ...{ version: 6, size: 8, sequence: 16, label: 24, checksumName: 72, uuid: 168, offset: 256, checksum: 448 },
} as const;
const LABEL_BYTES = 48;
const NAME_BYTES = 32;
const UUID_TEXT_BYTES = 40;
const CHECKSUM_BYTES = 64;
const MAGICS = ["4c554b53babe", "534b554cbabe"] as const;
/** All sizes of a copy that there are, and so all places of the second one. */
const SIZES = [0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000, 0x400000];
/** What cryptsetup writes, and what an old OpenSSL or another library may have written. */
const CHECKSUMS = ["sha256", "sha512", "sha1"];

interface Copy {
  readonly offset: number;
  readonly size: number;
  readonly sequence: bigint;
  readonly binary: { readonly uuid: string; readonly label: string };
  readonly json: Uint8Array;
}

export interface Luks2Copies {
  /** Of the copy that counts. */
  readonly binary: Copy["binary"];
  /** Without the zeros after it. */
  readonly json: Uint8Array;
  readonly copies: readonly HeaderCopy[];
  readonly notes: readonly string[];
}

/**
 * The newer good copy, as cryptsetup chooses it (LUKS2_disk_hdr_read()): it mends the other when it next writes.
 * @param hasMagic the device starts as LUKS2 does; otherwise only a second copy could be there
 * @returns undefined where there is none, and nothing that looks like one
 * @throws LatchkeyError luks/header-damaged when both copies are
 */
export async function findLuks2Copies(reader: BlockReader, hasMagic: boolean): Promise<Luks2Copies | undefined> {
  const first = hasMagic ? await readCopy(reader, 0) : undefined;
  const offsets = first && "json" in first ? [first.size] : SIZES;
  const second = await firstOf(offsets, (offset) => readCopy(reader, offset));
  if (!first && !(second && "json" in second)) return undefined;
  const copies = [first ?? { offset: 0, problem: "there is none" }, second ?? missing(offsets)];
  const [good, other] = copies
    .filter((copy) => "json" in copy)
    .sort((one, another) => Number(another.sequence - one.sequence));
  if (!good) throw damagedHeader(`both copies of its LUKS2 header are damaged: ${copies.map(problemText).join("; ")}`);
  return {
    binary: good.binary,
    json: good.json,
    copies: copies.map((copy) =>
      "json" in copy
        ? { offset: copy.offset, sequence: String(copy.sequence), problem: null }
        : { offset: copy.offset, sequence: null, problem: copy.problem },
    ),
    notes: notesOn(copies, other !== undefined),
  };
}

interface Damaged {
  readonly offset: number;
  readonly problem: string;
}

function missing(offsets: readonly number[]): Damaged {
  return { offset: offsets.length === 1 ? (offsets[0] ?? 0) : 0, problem: "there is none" };
}

function problemText(copy: Copy | Damaged): string {
  return "json" in copy ? "" : copy.problem;
}

function notesOn(copies: readonly (Copy | Damaged)[], areBothGood: boolean): readonly string[] {
  const notes = copies.flatMap((copy, index) => {
    if ("json" in copy) return [];
    return [`the ${index === 0 ? "first" : "second"} copy of its LUKS2 header is damaged: ${copy.problem}`];
  });
  const [one, another] = copies;
  if (areBothGood && one && another && "json" in one && "json" in another && one.binary.uuid !== another.binary.uuid) {
    throw damagedHeader("the two copies of its LUKS2 header have different UUIDs");
  }
  return notes;
}

async function firstOf<T>(offsets: readonly number[], read: (offset: number) => Promise<T | undefined>) {
  for (const offset of offsets) {
    const result = await read(offset);
    if (result !== undefined) return result;
  }
  return undefined;
}

/** @returns undefined where nothing looks like a copy */
async function readCopy(reader: BlockReader, offset: number): Promise<Copy | Damaged | undefined> {
  const binary = await reader.readAt(offset, BINARY_BYTES);
  if (binary.length < BINARY_BYTES || binary.subarray(0, AT.version).toHex() !== MAGICS[offset === 0 ? 0 : 1]) {
    return undefined;
  }
  try {
    return await checkedCopy(reader, offset, binary);
  } catch (thrown) {
    const error = asLatchkeyError(thrown);
    if (error.code !== "luks/header-damaged") throw error;
    return { offset, problem: error.message };
  }
}

async function checkedCopy(reader: BlockReader, offset: number, binary: Uint8Array): Promise<Copy> {
  const view = new DataView(binary.buffer, binary.byteOffset, binary.length);
  const text = (at: number, length: number): string => printable(binary.subarray(at, at + length));
  if (view.getUint16(AT.version) !== 2) throw damagedHeader(`version ${view.getUint16(AT.version)} instead of 2`);
  // Compared before it becomes a number, and before anything is allocated by it.
  const size = SIZES.find((known) => BigInt(known) === view.getBigUint64(AT.size));
  if (size === undefined || (offset !== 0 && size !== offset)) throw damagedHeader("a size that no LUKS2 header has");
  if (view.getBigUint64(AT.offset) !== BigInt(offset)) throw damagedHeader("it says that it lies elsewhere");
  const json = await reader.readAt(offset + BINARY_BYTES, size - BINARY_BYTES);
  if (json.length < size - BINARY_BYTES) throw damagedHeader("it is cut off");
  const name = text(AT.checksumName, NAME_BYTES);
  if (!CHECKSUMS.includes(name)) throw damagedHeader(`no such checksum ${JSON.stringify(name)}`);
  const stated = binary.slice(AT.checksum, AT.checksum + CHECKSUM_BYTES);
  const zeroed = Uint8Array.from(binary);
  zeroed.fill(0, AT.checksum, AT.checksum + CHECKSUM_BYTES);
  const sum = createHash(name).update(zeroed).update(json).digest();
  if (!sum.every((byte, index) => byte === stated[index])) throw damagedHeader("its checksum does not hold");
  const end = json.indexOf(0);
  return {
    offset,
    size,
    sequence: view.getBigUint64(AT.sequence),
    binary: { uuid: headerUuid(text(AT.uuid, UUID_TEXT_BYTES)), label: text(AT.label, LABEL_BYTES) },
    json: end === -1 ? json : json.subarray(0, end),
  };
}
