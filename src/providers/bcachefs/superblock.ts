import { LatchkeyError } from "../../system/errors.ts";
import { printable, uuidText } from "../../system/on-disk.ts";
import { type ChecksumType, checksum, checksumType } from "./checksum.ts";
import { type CryptField, type Member, parseCrypt, parseMembers, walkFields } from "./fields.ts";
import { absent, damaged, isMagic, NO_UUID } from "./identity.ts";
import { parseLayout, type SuperblockLayout } from "./layout.ts";

/** struct bch_sb without its fields. */
export const HEADER_BYTES = 752;

const LAYOUT_OFFSET = 240;
/** BCH_SB_MEMBERS_MAX. */
const MAXIMUM_SLOTS = 256;
const NANOSECONDS_PER_SECOND = 1_000_000_000;
/** bcachefs_metadata_version_min is 0.9; the newest major version there is. */
const OLDEST_VERSION = 9;
const NEWEST_MAJOR_VERSION = 1;

/** What a superblock says before its fields. */
export interface SuperblockHeader {
  /** Where this copy is. */
  readonly sector: bigint;
  /** `major << 10 | minor`. */
  readonly version: number;
  /** Ties the members together and never changes. */
  readonly internalUuid: string;
  /** The first 8 bytes of the internal UUID. */
  readonly nonce: Uint8Array;
  /** What users, blkid and the key's description call the file system. */
  readonly externalUuid: string;
  readonly label: string;
  /** Grows with each superblock write; the newest copy decides. */
  readonly sequence: bigint;
  /** Seconds since 1970. */
  readonly writeTime: bigint;
  readonly blockSectors: number;
  readonly deviceIndex: number;
  /** Member slots, those of removed devices included. */
  readonly slots: number;
  /** The file system has been started once; before that set-passphrase writes nothing. */
  readonly isInitialised: boolean;
  readonly checksumType: ChecksumType;
  /** Header and fields, in bytes; at most what the layout allows. */
  readonly totalBytes: number;
  readonly layout: SuperblockLayout;
}

/** A copy of the superblock that has passed every check. */
export interface Superblock extends SuperblockHeader {
  /** Absent: the file system is not encrypted. */
  readonly crypt: CryptField | undefined;
  /** Without free slots and removed devices. */
  readonly members: readonly Member[];
  /** This device's own entry; undefined when the device was removed from the file system. */
  readonly self: Member | undefined;
}

/** `1.13` for 0x040d. */
export function versionText(version: number): string {
  return `${version >> 10}.${version & 0x3ff}`;
}

/**
 * Reads the header and checks what bch2_sb_validate of fs/sb/io.c checks in it, the layout included. Says nothing about
 * the checksum, which covers the fields too: this is what must hold before more is read.
 * @param bytes at least HEADER_BYTES
 * @param sector where they were read
 * @throws LatchkeyError bcachefs/superblock-damaged, bcachefs/unsupported
 */
export function parseHeader(bytes: Uint8Array, sector: bigint): SuperblockHeader {
  if (bytes.length < HEADER_BYTES) throw damaged("the device ends inside the superblock");
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  if (!isMagic(bytes.subarray(24, 40))) throw absent("no bcachefs magic");
  const version = checkedVersion(view.getUint16(16, true), view.getUint16(18, true));
  const internalUuid = uuidText(bytes.subarray(40, 56));
  const externalUuid = uuidText(bytes.subarray(56, 72));
  if (internalUuid === NO_UUID) throw damaged("the internal UUID is zero");
  if (externalUuid === NO_UUID) throw damaged("the external UUID is zero");
  const claimedSector = view.getBigUint64(104, true);
  if (claimedSector !== sector) throw damaged(`the superblock says it is at sector ${claimedSector}`);
  const slots = view.getUint8(123);
  const deviceIndex = view.getUint8(122);
  if (slots === 0 || slots > MAXIMUM_SLOTS) throw damaged(`the superblock has ${slots} member slots`);
  if (deviceIndex >= slots) throw damaged(`the device has index ${deviceIndex}, but there are ${slots} member slots`);
  const precision = view.getUint32(140, true);
  if (precision === 0 || precision > NANOSECONDS_PER_SECOND) throw damaged(`the time precision is ${precision}`);
  const layout = parseLayout(bytes.subarray(LAYOUT_OFFSET, LAYOUT_OFFSET + 512));
  const totalBytes = HEADER_BYTES + 8 * view.getUint32(124, true);
  if (totalBytes > layout.maximumSuperblockBytes) {
    throw damaged(`the superblock claims ${totalBytes} bytes, its layout allows ${layout.maximumSuperblockBytes}`);
  }
  return {
    sector,
    version,
    internalUuid,
    nonce: bytes.slice(40, 48),
    externalUuid,
    label: printable(bytes.subarray(72, 104)),
    sequence: view.getBigUint64(112, true),
    writeTime: view.getBigUint64(200, true),
    blockSectors: view.getUint16(120, true),
    deviceIndex,
    slots,
    isInitialised: (view.getUint8(144) & 1) === 1,
    checksumType: checksumType((view.getUint8(144) >> 2) & 0x3f),
    totalBytes,
    layout,
  };
}

/** A newer minor version is readable by design (bch2_version_compatible); a newer major one is not. */
function checkedVersion(version: number, oldest: number): number {
  for (const each of [version, oldest]) {
    if (each < OLDEST_VERSION || each >> 10 > NEWEST_MAJOR_VERSION) {
      throw new LatchkeyError(
        "bcachefs/unsupported",
        `bcachefs version ${versionText(each)} is not known, 0.9 to 1.x are`,
      );
    }
  }
  if (oldest > version) throw damaged(`the oldest version ${versionText(oldest)} is newer than the version itself`);
  return version;
}

/**
 * Compares the checksum, which covers everything behind itself. Type none compares as well: its words must be zero.
 * @param bytes exactly header.totalBytes
 * @throws LatchkeyError bcachefs/superblock-damaged
 */
export function checkChecksum(bytes: Uint8Array, header: SuperblockHeader): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
  const low = view.getBigUint64(0, true);
  const high = view.getBigUint64(8, true);
  if (high !== 0n || low !== checksum(header.checksumType, bytes.subarray(16, header.totalBytes))) {
    throw damaged("the checksum does not match");
  }
}

/**
 * Reads the fields of a copy whose header and checksum are good.
 * @param bytes exactly header.totalBytes
 * @throws LatchkeyError bcachefs/superblock-damaged
 */
export function parseFields(bytes: Uint8Array, header: SuperblockHeader): Superblock {
  const fields = walkFields(bytes.subarray(HEADER_BYTES, header.totalBytes));
  const members = parseMembers(fields, header.slots);
  return {
    ...header,
    crypt: parseCrypt(fields),
    members,
    self: members.find((member) => member.index === header.deviceIndex),
  };
}
