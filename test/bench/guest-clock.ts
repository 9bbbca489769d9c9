import type { Seen } from "../vm/console.ts";
import type { Machine } from "../vm/machine.ts";

/** The seconds at which things happen in one machine, all by one clock. */
export interface BootClock {
  /** Of something just seen on the console. */
  at(seen: Seen): Promise<number>;
  now(): Promise<number>;
}

/** The host's, from the start of QEMU on. */
export function hostClock(machine: Machine): BootClock {
  return {
    at: async (seen) => seen.at / 1000,
    now: async () => machine.console.now / 1000,
  };
}

/** The counter of the HPET, IA-PC HPET specification 1.0a, 2.3.7; QEMU's runs at 100 MHz. */
const HPET_COUNTER = 0xfed000f0;
const HPET_HERTZ = 1e8;

/**
 * The guest's own clock, read from outside: QEMU's monitor reads the timer that the guest's kernel has started, so nothing in the guest
 * has to run for it. On a machine that counts instructions this is the count; being some milliseconds late on the host
 * makes it a few million instructions late, in a boot of ten thousand million.
 */
export function instructionClock(machine: Machine): BootClock {
  const now = async (): Promise<number> => {
    const answer = await machine.qmp.execute("human-monitor-command", {
      "command-line": `xp /2xw 0x${HPET_COUNTER.toString(16)}`,
    });
    const [, low, high] = /: 0x([0-9a-f]{8}) 0x([0-9a-f]{8})/.exec(String(answer)) ?? [];
    const ticks = Number.parseInt(`${high}${low}`, 16);
    if (!(ticks > 0)) throw new Error(`${machine.name}: the guest's timer cannot be read: ${String(answer).trim()}`);
    return ticks / HPET_HERTZ;
  };
  return { at: now, now };
}
