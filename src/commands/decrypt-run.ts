import { parseDuration } from "../config/duration.ts";
import { openToken } from "../sources/clevis/decrypt.ts";
import { machineTools } from "../sources/clevis/machine-tools.ts";
import { MAX_TOKEN_CHARACTERS, parseToken } from "../sources/clevis/token.ts";
import { exitStatus, LatchkeyError } from "../system/errors.ts";
import { hardenProcess } from "../system/hardening.ts";
import { libc } from "../system/libc.ts";
import type { SecretBytes } from "../system/secret-bytes.ts";
import { writeSome } from "../system/write-some.ts";
import type { DecryptOptions } from "./decrypt-options.ts";
import { abortOnSignals } from "./interrupt.ts";

const STDIN = 0;
const STDOUT = 1;
/** Milliseconds to look again at a standard output that is full and does not block. */
const FULL_PAUSE = 10;

/** `latchkey decrypt`: a token on standard input, its secret on standard output. @returns the exit status */
export async function runDecrypt(options: DecryptOptions): Promise<number> {
  hardenProcess();
  refuseTerminals();
  const signal = abortOnSignals();
  await using tools = machineTools({
    tangPatience: options.wait === undefined ? 0 : patienceOf(options.wait),
    ...(options.tpm === undefined ? {} : { tcti: options.tpm }),
    ...(options.caFile === undefined ? {} : { authorityFile: options.caFile }),
  });
  const token = parseToken(await readToken());
  using secret = await openToken(token, tools, signal);
  await writeSecret(secret);
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

/** One character for each octet: what is not ASCII is not a token, and the parser says so. */
async function readToken(): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of Bun.stdin.stream()) {
    size += chunk.length;
    if (size > MAX_TOKEN_CHARACTERS) {
      throw new LatchkeyError("token/too-large", `the token is longer than ${MAX_TOKEN_CHARACTERS} characters`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("latin1");
}

/**
 * All of a secret to standard output, and nothing after it.
 * @throws LatchkeyError system/output-failed
 */
export async function writeSecret({ bytes }: SecretBytes): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const written = writeSome(STDOUT, bytes.subarray(done));
    if ("bytes" in written) {
      done += written.bytes;
    } else if (written.errno === "EAGAIN") {
      await Bun.sleep(FULL_PAUSE);
    } else {
      throw new LatchkeyError(
        "system/output-failed",
        `standard output took ${done} bytes of the secret and no more (${written.errno})`,
      );
    }
  }
}
