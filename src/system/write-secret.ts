import { writeSome } from "./descriptor.ts";
import { LatchkeyError } from "./errors.ts";
import type { SecretBytes } from "./secret-bytes.ts";

/** Milliseconds to look again at an output that is full and does not block. */
const FULL_PAUSE = 10;

/**
 * All of a secret to an open file, and nothing after it.
 * @param what names the file in the error
 * @throws LatchkeyError system/output-failed
 */
export async function writeSecret(descriptor: number, { bytes }: SecretBytes, what: string): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const written = writeSome(descriptor, bytes.subarray(done));
    if ("bytes" in written) {
      done += written.bytes;
    } else if (written.errno === "EAGAIN") {
      await Bun.sleep(FULL_PAUSE);
    } else {
      throw new LatchkeyError(
        "system/output-failed",
        `${what} took ${done} bytes of the secret and no more (${written.errno})`,
      );
    }
  }
}
