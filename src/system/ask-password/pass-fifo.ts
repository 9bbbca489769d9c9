import { closeSync, constants, lstatSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { basename } from "node:path";
import { oneLine } from "../errors.ts";
import type { SecretBytes } from "../secret-bytes.ts";
import { ASKPASS_PATHS } from "./askpass-asker.ts";

/**
 * Debian's askpass from outside: while it asks, in an initramfs-tools image, it also takes an answer from its FIFO. That is the
 * supported way in for other programs (cryptsetup's README.initramfs; cryptroot-unlock does the same).
 */
export interface AskpassQuestion {
  readonly processId: number;
  /** What it shows on the console. */
  readonly message: string;
}

/** The longest command line that is read. */
const MOST_OCTETS = 4096;

const O_CLOEXEC = 0o2000000;

/** The askpass that waits for an answer now, if one does. */
export function findAskpass(paths = ASKPASS_PATHS, proc = "/proc"): AskpassQuestion | undefined {
  try {
    if (!lstatSync(paths.fifo).isFIFO()) return undefined;
    const wanted = basename(paths.program);
    for (const name of readdirSync(proc)) {
      if (!/^\d+$/.test(name)) continue;
      const [program = "", message = ""] = commandLine(`${proc}/${name}/cmdline`);
      if (basename(program) === wanted) {
        return { processId: Number(name), message: oneLine(message).replace(/\s*:$/, "") };
      }
    }
  } catch {
    // No FIFO, or no /proc: then nobody asks this way.
  }
  return undefined;
}

function commandLine(file: string): readonly string[] {
  try {
    return readFileSync(file, "utf8").slice(0, MOST_OCTETS).split("\0");
  } catch {
    return []; // ended meanwhile
  }
}

/**
 * Hands askpass the answer, without a line feed.
 * @returns false when nobody reads it any more
 */
export function answerAskpass(secret: SecretBytes, paths = ASKPASS_PATHS): boolean {
  let fifo: number;
  try {
    // Not waiting: without a reader this fails at once, fifo(7).
    fifo = openSync(paths.fifo, constants.O_WRONLY | constants.O_NONBLOCK | O_CLOEXEC);
  } catch {
    return false;
  }
  try {
    // Shorter than PIPE_BUF, so all of it or nothing, pipe(7).
    return writeSync(fifo, secret.bytes) === secret.length;
  } catch {
    return false;
  } finally {
    closeSync(fifo);
  }
}
