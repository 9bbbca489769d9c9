import { LatchkeyError } from "../../system/errors.ts";
import type { KeySlot, LuksHeader } from "./header.ts";

/** Which key slots a passphrase is tried on. */
export interface SlotChoice {
  /** One after the other; undefined stands for all, which cryptsetup tries by itself. */
  readonly tried: readonly (number | undefined)[];
  /** Octets that the most expensive one takes. */
  readonly memory: number;
  /** What is left out and why. */
  readonly notes: readonly string[];
}

/**
 * Decides before cryptsetup is started: a key slot that wants more memory than the machine has would end in the kernel
 * killing something, and would keep cryptsetup from the slots after it.
 * @param wanted the only slot to try, where one is named
 * @param memoryThere octets of memory that the machine has
 * @throws LatchkeyError luks/no-slot, luks/too-much-memory
 */
export function chooseSlots(
  volume: string,
  { slots }: LuksHeader,
  wanted: number | undefined,
  memoryThere: number,
): SlotChoice {
  const candidates = slots.filter(({ id, priority }) => (wanted === undefined ? priority !== "ignore" : id === wanted));
  if (candidates.length === 0) {
    const what = wanted === undefined ? "its LUKS header has no key slot in use" : `key slot ${wanted} is not in use`;
    throw new LatchkeyError("luks/no-slot", `${volume}: ${what}: no passphrase can open it`);
  }
  const affordable = candidates.filter((slot) => memoryOf(slot) <= memoryThere);
  const dear = candidates.filter((slot) => memoryOf(slot) > memoryThere);
  const notes = dear.map((slot) => `${costText(slot)}, and this machine has ${sizeText(memoryThere)}`);
  if (affordable.length === 0) {
    throw new LatchkeyError("luks/too-much-memory", `${volume}: ${notes.join("; ")}`, {
      hint: "the header is damaged or hostile, or the slot was made on a larger machine: `cryptsetup luksConvertKey --pbkdf-memory` there makes it smaller",
    });
  }
  const memory = Math.max(...affordable.map(memoryOf));
  if (wanted !== undefined) return { tried: [wanted], memory, notes };
  return { tried: dear.length === 0 ? [undefined] : affordable.map(({ id }) => id), memory, notes };
}

/** Octets that a passphrase tried on every slot takes at most. */
export function dearestSlot({ slots }: LuksHeader): number {
  return Math.max(0, ...slots.map(memoryOf));
}

/** Octets; PBKDF2 takes next to none. */
function memoryOf({ kdf }: KeySlot): number {
  return "memoryBytes" in kdf ? kdf.memoryBytes : 0;
}

function costText(slot: KeySlot): string {
  return `key slot ${slot.id} takes ${sizeText(memoryOf(slot))} of memory (${slot.kdf.kind})`;
}

/** `1 GiB`, `64 MiB`. */
export function sizeText(octets: number): string {
  const units = ["octets", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, octets < 1 ? 0 : Math.floor(Math.log2(octets) / 10));
  return `${Math.round((octets / 1024 ** power) * 10) / 10} ${units[power]}`;
}
