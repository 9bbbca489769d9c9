import { printable, UUID_BYTES, uuidText } from "../../system/on-disk.ts";
import { damaged, NO_UUID } from "./identity.ts";

/** The field types latchkey reads, BCH_SB_FIELDS of fs/bcachefs_format.h. */
export const FIELD = { membersV1: 1, crypt: 2, membersV2: 11 } as const;

const known: ReadonlySet<number> = new Set(Object.values(FIELD));
const FIELD_HEADER_BYTES = 8;

/** Field type -> the field with its header. */
export type Fields = ReadonlyMap<number, Uint8Array>;

/**
 * Walks the field area once. The first field of a type counts, unknown types are skipped (bch2_sb_field_get_id); the
 * length is compared in words against what is left, which cannot wrap.
 * @param area the bytes behind the superblock's header, a whole number of 8-byte words
 * @throws LatchkeyError bcachefs/superblock-damaged
 */
export function walkFields(area: Uint8Array): Fields {
  const view = new DataView(area.buffer, area.byteOffset, area.byteLength);
  const fields = new Map<number, Uint8Array>();
  let offset = 0;
  while (offset + FIELD_HEADER_BYTES <= area.length) {
    const words = view.getUint32(offset, true);
    const type = view.getUint32(offset + 4, true);
    if (words === 0) throw damaged(`a superblock field (type ${type}) has length 0`);
    if (words > (area.length - offset) / 8) {
      throw damaged(`a superblock field (type ${type}, ${words} words) runs past the end of the superblock`);
    }
    if (known.has(type) && !fields.has(type)) fields.set(type, area.subarray(offset, offset + words * 8));
    offset += words * 8;
  }
  return fields;
}

/** bch_encrypted_key and KDF settings, struct bch_sb_field_crypt. */
export interface CryptField {
  /** 0 is scrypt; nothing else is defined. */
  readonly kdfType: number;
  /** Base-2 logarithms, unchecked: `checkedParameters` judges them. */
  readonly log2N: number;
  readonly log2R: number;
  readonly log2P: number;
  /**
   * The wrapped magic, 8 bytes: all that is needed to check a passphrase. The wrapped key behind it is never copied: the
   * kernel unwraps that itself.
   */
  readonly wrappedMagic: Uint8Array;
  /** The magic lies in clear: the master key behind it does too, and there is no passphrase. */
  readonly isClear: boolean;
}

const CRYPT_FIELD_BYTES = 64;
/** BCH_KEY_MAGIC as bytes: "bch**key". */
export const KEY_MAGIC: Uint8Array = new TextEncoder().encode("bch**key");

/** @throws LatchkeyError bcachefs/superblock-damaged */
export function parseCrypt(fields: Fields): CryptField | undefined {
  const field = fields.get(FIELD.crypt);
  if (!field) return undefined;
  if (field.length < CRYPT_FIELD_BYTES) {
    throw damaged(`the encryption field has ${field.length} bytes, ${CRYPT_FIELD_BYTES} are needed`);
  }
  const view = new DataView(field.buffer, field.byteOffset, CRYPT_FIELD_BYTES);
  const wrappedMagic = field.slice(24, 32);
  return {
    kdfType: view.getUint8(8) & 0xf,
    log2N: view.getUint16(16, true),
    log2R: view.getUint16(18, true),
    log2P: view.getUint16(20, true),
    wrappedMagic,
    isClear: wrappedMagic.every((byte, index) => byte === KEY_MAGIC[index]),
  };
}

/** BCH_MEMBER_STATES of fs/sb/members_format.h; 2 was called failed before 1.3x. */
const memberStates = ["rw", "ro", "evacuating", "spare"] as const;

/** One member of the file system as a superblock's table describes it. */
export interface Member {
  /** The slot, which each member's own superblock calls its device index. */
  readonly index: number;
  /** blkid's UUID_SUB. */
  readonly uuid: string;
  readonly state: (typeof memberStates)[number] | "unknown";
  /** The sequence number this table believes the member has; 0 before 1.4. */
  readonly sequence: bigint;
  /** What the kernel called the device when it last wrote the table, as `sda2`; empty before 1.2x. */
  readonly lastName: string;
}

/** BCH_SB_MEMBER_DELETED_UUID: the slot of a device that was removed. */
const REMOVED_UUID = "ffffffff-ffff-ffff-d96a-60cf803df7ef";
/** BCH_MEMBER_V1_BYTES: what every version of struct bch_member starts with. */
const MEMBER_V1_BYTES = 56;

/**
 * The members that are neither free slots nor removed devices. A table with no room for every slot makes the
 * superblock invalid, as in bch2_sb_members_v2_validate; sizes and buckets are for the kernel to judge at the mount.
 * @throws LatchkeyError bcachefs/superblock-damaged
 */
export function parseMembers(fields: Fields, slots: number): readonly Member[] {
  const second = fields.get(FIELD.membersV2);
  const first = fields.get(FIELD.membersV1);
  if (second) {
    if (second.length < 16) throw damaged("the member table has no header");
    const recordBytes = new DataView(second.buffer, second.byteOffset, 16).getUint16(8, true);
    return memberRecords(second.subarray(16), recordBytes, slots);
  }
  if (first) return memberRecords(first.subarray(FIELD_HEADER_BYTES), MEMBER_V1_BYTES, slots);
  throw damaged("the member table is missing");
}

function memberRecords(records: Uint8Array, recordBytes: number, slots: number): readonly Member[] {
  if (recordBytes < MEMBER_V1_BYTES || records.length < recordBytes * slots) {
    throw damaged(`the member table has no room for ${slots} slots of ${recordBytes} bytes`);
  }
  const members: Member[] = [];
  for (let index = 0; index < slots; index++) {
    const record = records.subarray(index * recordBytes, (index + 1) * recordBytes);
    const uuid = uuidText(record.subarray(0, UUID_BYTES));
    if (uuid === NO_UUID || uuid === REMOVED_UUID) continue;
    const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
    members.push({
      index,
      uuid,
      state: memberStates[view.getUint8(40) & 0xf] ?? "unknown",
      sequence: recordBytes >= 128 ? view.getBigUint64(120, true) : 0n,
      lastName: recordBytes >= 160 ? printable(record.subarray(144, 160)) : "",
    });
  }
  return members;
}
