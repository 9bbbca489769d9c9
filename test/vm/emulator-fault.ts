/**
 * QEMU's software emulation, with a thread for each processor, now and then runs a breakpoint that the kernel has put into its
 * own code for a moment and taken out again (jump labels, text_poke_bp() of arch/x86/kernel/alternative.c), and the kernel
 * dies of it. Seen in one boot of some hundred on a loaded host, in kernel code, before any program of ours runs and after.
 */
const STALE_BREAKPOINT = /Oops: int3/;

const faulty = new Set<string>();

/** Remembers a machine whose console shows the fault. */
export function noteEmulatorFault(machine: string, console: string): void {
  if (STALE_BREAKPOINT.test(console)) faulty.add(machine);
}

/** Whether that machine met the fault since this was last asked. A case may add to its name for further machines. */
export function sawEmulatorFault(name: string): boolean {
  const seen = [...faulty].filter((machine) => machine.startsWith(name));
  for (const machine of seen) faulty.delete(machine);
  return seen.length > 0;
}
