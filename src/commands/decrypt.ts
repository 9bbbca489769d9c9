import { writeSync } from "node:fs";
import { isatty } from "node:tty";
import type { Command } from "commander";
import { parseDuration } from "../config/duration.ts";
import { openToken } from "../sources/clevis/decrypt.ts";
import { machineTools } from "../sources/clevis/machine-tools.ts";
import { MAX_TOKEN_CHARACTERS, parseToken } from "../sources/clevis/token.ts";
import { exitStatus, LatchkeyError } from "../system/errors.ts";
import { hardenProcess } from "../system/hardening.ts";
import type { SecretBytes } from "../system/secret-bytes.ts";
import { abortOnSignals } from "./interrupt.ts";
import { acts } from "./run.ts";

interface Options {
  readonly wait?: string;
  readonly tpm?: string;
  readonly caFile?: string;
}

const STDIN = 0;
const STDOUT = 1;
/** Milliseconds to look again at a standard output that is full and does not block. */
const FULL_PAUSE = 10;

export function registerDecrypt(program: Command): void {
  const command = program
    .command("decrypt")
    .summary("a Clevis token on standard input, its secret on standard output")
    .description(
      "Opens a Clevis token as `clevis decrypt` does, with the pins tpm2, tang, sss and null built in and others left to an installed clevis. Nothing is written unless the token's tag held.",
    )
    .option("--wait <duration>", "try Tang servers that do not answer again for this long, instead of once")
    .option("--tpm <tcti>", "the TPM: device:PATH, swtpm:path=P or swtpm:host=H,port=P; TPM2TOOLS_TCTI wins")
    .option("--ca-file <file>", "trust https Tang servers with a certificate by this authority (PEM), and no other")
    .addHelpText("after", "\nExample:\n  latchkey decrypt < root.jwe | latchkey verify root --passphrase-file -");
  acts(command, async (options: Options) => {
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
  });
}

function refuseTerminals(): void {
  if (isatty(STDIN)) {
    throw new LatchkeyError("usage/invalid", "decrypt takes the token on standard input, which is a terminal", {
      hint: "for example: latchkey decrypt < root.jwe > /run/root.key",
    });
  }
  if (isatty(STDOUT)) {
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

async function writeSecret(secret: SecretBytes): Promise<void> {
  const { bytes } = secret;
  for (let written = 0; written < bytes.length; ) {
    try {
      written += writeSync(STDOUT, bytes, written, bytes.length - written);
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code;
      if (code === "EAGAIN") {
        await Bun.sleep(FULL_PAUSE);
        continue;
      }
      throw new LatchkeyError(
        "system/output-failed",
        `standard output took ${written} bytes of the secret and no more (${code})`,
        { cause },
      );
    }
  }
}
