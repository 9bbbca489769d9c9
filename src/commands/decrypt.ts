import type { Command } from "commander";
import type { DecryptOptions } from "./decrypt-options.ts";
import { runDecrypt } from "./decrypt-run.ts";
import { acts } from "./run.ts";

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
  acts(command, (options: DecryptOptions) => runDecrypt(options));
}
