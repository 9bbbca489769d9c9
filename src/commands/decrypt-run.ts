import { parseDuration } from "../config/duration.ts";
import { openToken } from "../sources/clevis/decrypt.ts";
import { machineTools } from "../sources/clevis/machine-tools.ts";
import { MAX_TOKEN_CHARACTERS, parseToken } from "../sources/clevis/token.ts";
import { readSome } from "../system/descriptor.ts";
import { exitStatus, LatchkeyError } from "../system/errors.ts";
import { hardenProcess } from "../system/hardening.ts";
import { libc } from "../system/libc.ts";
import { writeSecret } from "../system/write-secret.ts";
import type { DecryptOptions } from "./decrypt-options.ts";
import { abortOnSignals } from "./interrupt.ts";

const STDIN = 0;
const STDOUT = 1;
/** Milliseconds to look again at an input that is empty, or an output that is full, and does not block. */
const PAUSE = 10;
const READ_BYTES = 16 * 1024;

/** `latchkey decrypt`: a token on standard input, its secret on standard output. @returns the exit status */
export async function runDecrypt(options: DecryptOptions): Promise<number> {
  hardenProcess();
  refuseTerminals();
  const patience = options.wait === undefined ? 0 : patienceOf(options.wait);
  await using tools = machineTools({
    tangPatience: patience,
    ...(options.tpm === undefined ? {} : { tcti: options.tpm }),
    ...(options.caFile === undefined ? {} : { authorityFile: options.caFile }),
  });
  const token = parseToken(readToken());
  const signal = abortOnSignals();
  using secret = await openToken(token, tools, signal);
  await writeSecret(STDOUT, secret, "standard output");
  return exitStatus.done;
}

function refuseTerminals(): void {
  if (libc().isatty(STDIN) === 1) {
    throw new LatchkeyError("usage/invalid", "decrypt takes the token on standard input, which is a terminal", {
      hint: "for example: latchkey decrypt < root.jwe > /run/root.key",
    });
  }
  if (libc().isatty(STDOUT) === 1) {
    throw new LatchkeyError("usage/invalid", "standard output is a terminal, and the secret would be seen there", {
      hint: "send it to a file in memory or to another program",
    });
  }
}

function patienceOf(text: string): number {
  const duration = parseDuration(text);
  if ("problem" in duration) throw new LatchkeyError("usage/invalid", `--wait: ${duration.problem}`);
  return duration.value;
}

/**
 * One character for each octet: what is not ASCII is not a token, and the parser says so. Nothing else goes on before the token
 * is there, so this waits for it, and a signal ends the process.
 */
function readToken(): string {
  const room = new Uint8Array(READ_BYTES);
  const decoder = new TextDecoder("latin1");
  let text = "";
  for (;;) {
    const read = readSome(STDIN, room);
    if ("errno" in read) {
      if (read.errno !== "EAGAIN") throw unreadable(read.errno);
      Bun.sleepSync(PAUSE); // nobody has written yet, and the pipe does not block
      continue;
    }
    if (read.bytes === 0) return text;
    text += decoder.decode(room.subarray(0, read.bytes));
    if (text.length > MAX_TOKEN_CHARACTERS) {
      throw new LatchkeyError("token/too-large", `the token is longer than ${MAX_TOKEN_CHARACTERS} characters`);
    }
  }
}

function unreadable(errno: string): LatchkeyError {
  return new LatchkeyError("token/unreadable", `standard input cannot be read (${errno})`);
}
