import { LONGEST_ANSWER } from "./ask-password/asker.ts";
import { whenReadable } from "./ask-password/readiness.ts";
import { scrubFreedPages, scrubSocketBuffers } from "./ask-password/scrub.ts";
import { beforeAbort } from "./before-abort.ts";
import { monotonicClock } from "./clock.ts";
import { LatchkeyError } from "./errors.ts";
import { libc } from "./libc.ts";
import { SecretBytes } from "./secret-bytes.ts";
import { withoutTrailingNewlines } from "./secret-input.ts";

/** Milliseconds for whoever writes to begin, and between two pieces. */
const INPUT_LIMIT = 120_000;
/** Milliseconds after a line feed: a writer that keeps the pipe open has then written all it has. */
const AFTER_LINE = 500;

export interface PipeLimits {
  readonly input: number;
  readonly afterLine: number;
}

/**
 * One passphrase from a pipe or socket that may stay open after it: up to its end, or to a line feed that nothing follows.
 * Straight into secret bytes; trailing line feeds go, as with a passphrase file.
 * @throws LatchkeyError answer/nothing-given, secret/too-long
 */
export async function readPipedSecret(
  descriptor: number,
  limits: PipeLimits = { input: INPUT_LIMIT, afterLine: AFTER_LINE },
): Promise<SecretBytes> {
  const secret = SecretBytes.allocate(LONGEST_ANSWER + 2);
  try {
    let length = 0;
    while (length < secret.length) {
      const hasLine = length > 0 && secret.bytes[length - 1] === LINE_FEED;
      if (!(await isReadableWithin(descriptor, hasLine ? limits.afterLine : limits.input))) break;
      const room = secret.bytes.subarray(length);
      const count = Number(libc().read(descriptor, room, BigInt(room.length)));
      if (count <= 0) break;
      length += count;
    }
    // It came through a pipe's pages or a socket's buffers, which the kernel gives back unwiped.
    scrubSocketBuffers(Math.max(1, length));
    scrubFreedPages();
    withoutTrailingNewlines(secret.truncate(length));
    if (secret.length > LONGEST_ANSWER) {
      throw new LatchkeyError("secret/too-long", `standard input holds more than ${LONGEST_ANSWER} bytes`, {
        hint: "is it really a passphrase?",
      });
    }
    if (secret.length > 0) return secret;
    throw new LatchkeyError("answer/nothing-given", "no passphrase came on standard input", {
      hint: "for a question that hides what is typed, ask for a terminal: ssh -t",
    });
  } catch (thrown) {
    secret[Symbol.dispose]();
    throw thrown;
  }
}

const LINE_FEED = 0x0a;

async function isReadableWithin(descriptor: number, milliseconds: number): Promise<boolean> {
  const over = new AbortController();
  void monotonicClock.sleep(milliseconds, over.signal).then(() => over.abort());
  try {
    return (await beforeAbort(whenReadable(descriptor, over.signal), over.signal)) !== undefined;
  } finally {
    over.abort();
  }
}
