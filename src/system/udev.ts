import { oneLine } from "./errors.ts";

/** Milliseconds for udev to work through its queue, before and after; then the boot goes on. */
const SETTLE_LIMIT = 5000;
/** Milliseconds for udevadm itself, beyond the limit that it was told. */
const GRACE = 1000;
const MAX_COMPLAINT = 200;

/** Runs udevadm; tests bring their own. Undefined where there is none. @returns why it failed, or undefined */
export type RunUdevadm = (args: readonly string[], limit: number) => Promise<string | undefined>;

export function systemUdevadm(): RunUdevadm | undefined {
  const program = Bun.which("udevadm", { PATH: process.env["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin" });
  if (program === null) return undefined;
  return async (args, limit) => {
    try {
      const child = Bun.spawn([program, ...args], {
        stdio: ["ignore", "ignore", "pipe"],
        timeout: limit,
        killSignal: "SIGKILL",
        maxBuffer: 64 * 1024,
      });
      const [said, status] = await Promise.all([child.stderr.text(), child.exited]);
      if (status === 0) return undefined;
      const complaint = oneLine(said.trim().split("\n").at(-1) ?? "").slice(0, MAX_COMPLAINT);
      return child.signalCode === null ? `status ${status}: ${complaint}` : `no end within ${limit / 1000} s`;
    } catch {
      return "it cannot be started";
    }
  };
}

/**
 * Has udev look at devices again, as if they had just changed. btrfs needs it: when the first device of several appears, udev
 * asks the kernel whether the filesystem is whole (64-btrfs.rules, `btrfs ready`), gets no, and marks the device as not ready
 * for systemd; nothing marks it anew when the last one has come. A link in /dev/disk/by-uuid that points to it then leads
 * nowhere, and a mount that waits for it waits for ever.
 *
 * The queue is worked off first, so that udev has seen all of them when it asks for each again.
 * @param nodes device nodes
 * @returns what went wrong, for the report: a boot goes on without this
 */
export async function lookAgain(
  nodes: readonly string[],
  udevadm: RunUdevadm | undefined = systemUdevadm(),
): Promise<string | undefined> {
  if (!udevadm || nodes.length === 0) return undefined;
  const settle = ["settle", `--timeout=${SETTLE_LIMIT / 1000}`];
  const steps: readonly (readonly string[])[] = [settle, ["trigger", "--action=change", "--", ...nodes], settle];
  const problems: string[] = [];
  for (const args of steps) {
    const problem = await udevadm(args, SETTLE_LIMIT + GRACE);
    if (problem !== undefined) problems.push(`udevadm ${args[0]}: ${problem}`);
  }
  return problems.length === 0 ? undefined : problems.join("; ");
}
