import type { ErrorCode } from "../system/error-table.ts";
import { LatchkeyError } from "../system/errors.ts";
import { type HashAlgorithm, hashById } from "./algorithms.ts";
import { concat, u16, u32, type WireReader } from "./wire.ts";

/** Every PC has 24 PCRs (PC Client Platform TPM Profile): the bitmap has three octets. */
export const PCR_COUNT = 24;
const BITMAP_BYTES = PCR_COUNT / 8;

/** A TPM has one bank per hash; more than this in one answer is nonsense (HASH_COUNT of Part 2 is below 16). */
const MAX_BANKS = 16;

/** Registers of one bank, in ascending order without repetition. */
export interface PcrSelection {
  readonly bank: HashAlgorithm;
  readonly pcrs: readonly number[];
}

/** Sorts and removes repetitions. @throws LatchkeyError with `code` for a PCR that does not exist */
export function pcrSelection(bank: HashAlgorithm, pcrs: Iterable<number>, code: ErrorCode): PcrSelection {
  const ascending = [...new Set(pcrs)].sort((one, other) => one - other);
  for (const pcr of ascending) {
    if (!isPcr(pcr)) throw new LatchkeyError(code, `there is no PCR ${pcr}: they are 0 to ${PCR_COUNT - 1}`);
  }
  return { bank, pcrs: ascending };
}

export function isPcr(pcr: number): boolean {
  return Number.isInteger(pcr) && pcr >= 0 && pcr < PCR_COUNT;
}

/** TPML_PCR_SELECTION with one bank: PCR i is bit (i mod 8) of octet (i div 8), Part 2 section 10.6.2. */
export function encodeSelection(selection: PcrSelection): Uint8Array {
  const bitmap = new Uint8Array(BITMAP_BYTES);
  for (const pcr of selection.pcrs) bitmap[pcr >> 3] = (bitmap[pcr >> 3] ?? 0) | (1 << (pcr & 7));
  return concat(u32(1), u16(selection.bank.id), Uint8Array.of(BITMAP_BYTES), bitmap);
}

/** A bank of a TPML_PCR_SELECTION as the TPM sent it; the algorithm may be one that latchkey does not know. */
export interface ReadSelection {
  readonly bankId: number;
  readonly pcrs: readonly number[];
}

/** TPML_PCR_SELECTION from a TPM. */
export function decodeSelections(reader: WireReader): readonly ReadSelection[] {
  const count = reader.u32();
  if (count > MAX_BANKS) throw reader.fail(`it lists ${count} PCR banks`);
  const selections: ReadSelection[] = [];
  for (let selection = 0; selection < count; selection += 1) {
    const bankId = reader.u16();
    const bitmap = reader.bytes(reader.u8());
    const pcrs: number[] = [];
    for (let pcr = 0; pcr < bitmap.length * 8; pcr += 1) {
      if ((bitmap[pcr >> 3] ?? 0) & (1 << (pcr & 7))) pcrs.push(pcr);
    }
    selections.push({ bankId, pcrs });
  }
  return selections;
}

/** `PCR 7`, `PCRs 1 and 7`, `PCRs 0, 2 and 7`: for messages. */
export function pcrWords(pcrs: readonly number[]): string {
  if (pcrs.length < 2) return `PCR ${pcrs[0] ?? "none"}`;
  return `PCRs ${pcrs.slice(0, -1).join(", ")} and ${pcrs.at(-1)}`;
}

/** The name of a bank for messages, also of one that latchkey does not know. */
export function bankName(id: number): string {
  return hashById(id)?.name ?? `0x${id.toString(16).padStart(4, "0")}`;
}
