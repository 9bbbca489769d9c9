import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { lock, tryLock } from "./cache.ts";
import { seconds } from "./patience.ts";

/** QEMU's own needs beside the guest's memory: translated code and the snapshot of the disks. */
const OVERHEAD_MEGABYTES = 512;

const SLOT_POLL_MS = 200;

/** More than any process would use. */
const EVERY_SLOT = Math.max(64, cpus().length);

const slotName = (slot: number): string => `guest-slot-${slot}`;

/** The slots that guests of this process have, while it keeps all of them from other processes. */
let ownGuests: Set<number> | undefined;

/**
 * How many guests of this size may run side by side here. A booting guest keeps one and a half cores busy, and waits now
 * and then: two on two cores pay, more would only make each slower until its limits fire.
 */
export function guestsAtOnce(memoryMegabytes: number, freeMegabytes: number, cores: number): number {
  const fitting = Math.floor(freeMegabytes / (memoryMegabytes + OVERHEAD_MEGABYTES));
  return Math.max(1, Math.min(fitting, Math.max(Math.min(cores, 2), Math.floor(cores / 2))));
}

/**
 * Waits until another guest may run, counting the guests of all test processes on this machine that share the cache: tests
 * may be written as if they ran alone, and be started all at once.
 */
export async function guestSlot(memoryMegabytes: number): Promise<Disposable> {
  const chosen = Number(process.env["LATCHKEY_VM_GUESTS"]);
  const end = performance.now() + seconds(3600);
  // Taken once: what running guests use is not to be counted against them.
  const slots = chosen > 0 ? chosen : guestsAtOnce(memoryMegabytes, availableMegabytes(), cpus().length);
  while (performance.now() < end) {
    for (let slot = 0; slot < slots; slot += 1) {
      const held = trySlot(slot);
      if (held) return held;
    }
    await Bun.sleep(SLOT_POLL_MS);
  }
  throw new Error("no guest could be started: all slots were taken for an hour");
}

function trySlot(slot: number): Disposable | undefined {
  const taken = ownGuests;
  if (!taken) return tryLock(slotName(slot));
  if (taken.has(slot)) return undefined;
  taken.add(slot);
  return { [Symbol.dispose]: () => taken.delete(slot) };
}

/**
 * Waits until no guest of another process runs, and keeps them from starting any until it is disposed: for measurements. Guests of this
 * process run as ever meanwhile; there must be none when it is called.
 */
export async function allGuestSlots(limit = seconds(3600)): Promise<Disposable> {
  using scope = new DisposableStack();
  // First among those who want all: two who had a half each would wait for ever.
  scope.use(await lock("guest-slots", limit));
  for (let slot = 0; slot < EVERY_SLOT; slot += 1) scope.use(await lock(slotName(slot), limit));
  ownGuests = new Set();
  scope.defer(() => {
    ownGuests = undefined;
  });
  const held = scope.move();
  return { [Symbol.dispose]: () => held.dispose() };
}

function availableMegabytes(): number {
  const kilobytes = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1];
  return Number(kilobytes ?? "0") / 1024;
}
