import type { BlockReader } from "../../system/block-devices.ts";
import { printable } from "../../system/on-disk.ts";
import { damagedHeader, headerUuid, type KeySlot, type LuksHeader } from "./header.ts";

/**
 * The partition header of the LUKS1 On-Disk Format Specification 1.2.3, section 2: offsets in octets, numbers big-endian.
 */
const HEADER_BYTES = 592;
const AT = { cipherName: 8, cipherMode: 40, hash: 72, keyBytes: 108, uuid: 168, slots: 208 } as const;
const TEXT_BYTES = 32;
const UUID_TEXT_BYTES = 40;
const SLOTS = 8;
const SLOT_BYTES = 48;
/** LUKS_KEY_ENABLED and LUKS_KEY_DISABLED. */
const ENABLED = 0x00ac71f3;
const DISABLED = 0x0000dead;
const SECTOR_BYTES = 512;

/** @throws LatchkeyError luks/header-damaged */
export async function parseLuks1(reader: BlockReader): Promise<LuksHeader> {
  const bytes = await reader.readAt(0, HEADER_BYTES);
  if (bytes.length < HEADER_BYTES) throw damagedHeader("its LUKS1 header is cut off");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const text = (at: number, length = TEXT_BYTES): string => printable(bytes.subarray(at, at + length));
  const cipher = `${text(AT.cipherName)}-${text(AT.cipherMode)}`;
  const hash = text(AT.hash);
  const keyBits = 8 * view.getUint32(AT.keyBytes);
  const slots: KeySlot[] = [];
  for (let id = 0; id < SLOTS; id += 1) {
    const at = AT.slots + id * SLOT_BYTES;
    const active = view.getUint32(at);
    if (active !== ENABLED && active !== DISABLED) throw damagedHeader(`key slot ${id} of its LUKS1 header is damaged`);
    if (active === DISABLED) continue;
    const kdf = { kind: "pbkdf2", hash, iterations: view.getUint32(at + 4) } as const;
    slots.push({ id, kdf, priority: "normal", cipher, keyBits });
  }
  return {
    version: 1,
    uuid: headerUuid(text(AT.uuid, UUID_TEXT_BYTES)),
    label: "",
    slots,
    segments: [{ id: 0, type: "crypt", cipher, sectorSize: SECTOR_BYTES, integrity: null }],
    tokens: [],
    requirements: [],
    copies: [],
    notes: [],
  };
}
