import { OPEN_DOOR } from "../../system/remote-image.ts";

/** Milliseconds for the script, which only starts things and does not wait for them. */
const LIMIT = 20_000;

/**
 * Has the network and the SSH server brought up, by the script that the image's stack brought along.
 * @returns what went wrong
 */
export async function openDoor(signal: AbortSignal, script = OPEN_DOOR): Promise<string | undefined> {
  try {
    const child = Bun.spawn([script], { stdio: ["ignore", "ignore", "ignore"], timeout: LIMIT, signal });
    const status = await child.exited;
    if (status === 0 || signal.aborted) return undefined;
    return `${script} ended with ${child.signalCode ?? `status ${status}`}: the SSH server may not be up`;
  } catch {
    return `${script} cannot be run: the SSH server is not up`;
  }
}
