/** What the guest's kernel log says of a boot. Its times are the guest's clock, from the start of the kernel. */

/** The lines that benchmarks ask for, as an extended regular expression. */
export const LOGGED = "Trying to unpack|Freeing initrd memory|Run /init|tpm_(crb|tis) |\\[vda\\]|mounted filesystem";

/** Seconds of the first line that has these words; NaN without one. */
export function logged(log: string, words: string | RegExp): number {
  const pattern = typeof words === "string" ? RegExp.escape(words) : words.source;
  return Number(new RegExp(`^\\[ *([\\d.]+)\\][^\\n]*${pattern}`, "m").exec(log)?.[1]);
}

/** Seconds that the kernel took to unpack the initrd. */
export function unpacking(log: string): number {
  return logged(log, "Freeing initrd memory") - logged(log, "Trying to unpack");
}
