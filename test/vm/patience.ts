/**
 * Every wait of the harness has a limit, chosen for two cores without KVM. LATCHKEY_VM_PATIENCE=3 makes them all three
 * times as long, for slower machines.
 */
const factor = Number(process.env["LATCHKEY_VM_PATIENCE"] ?? "1");

/** Seconds as the milliseconds to wait for at most. */
export function seconds(count: number): number {
  return Math.round(count * 1000 * (factor > 0 ? factor : 1));
}

/** What `work` gives, unless it takes longer than its limit: then an error that names what was waited for. */
export async function within<T>(milliseconds: number, what: string, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${milliseconds / 1000} s`)), milliseconds);
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}
