import { Command, CommanderError } from "commander";
import { registerBoot } from "./commands/boot.ts";
import { registerReport } from "./commands/report.ts";
import { printError, usageError } from "./commands/run.ts";
import { registerStatus } from "./commands/status.ts";
import { registerUnlock } from "./commands/unlock.ts";
import { registerVerify } from "./commands/verify.ts";
import { exitStatus } from "./system/errors.ts";
import { versionLine } from "./version.ts";

const program = new Command("latchkey")
  .description("Opens this machine's encrypted disks: at boot from the initrd, and by hand.")
  .version(versionLine, "--version", "print version and build id")
  .helpOption("-h, --help", "show help")
  .showSuggestionAfterError()
  .exitOverride()
  .configureOutput({ writeErr: () => undefined })
  .addHelpText(
    "after",
    `
Exit status:
  0 done · 1 failed · 2 wrong credential · 3 not available · 4 refused by policy · 64 usage · 78 bad configuration`,
  );

for (const register of [registerBoot, registerUnlock, registerVerify, registerStatus, registerReport])
  register(program);

try {
  await program.parseAsync();
} catch (thrown) {
  if (thrown instanceof CommanderError) {
    if (thrown.exitCode === 0) process.exit(exitStatus.done);
    if (thrown.code === "commander.help") {
      process.stderr.write(program.helpInformation());
      process.exit(exitStatus.usage);
    }
    process.exit(printError(usageError(thrown.message)));
  }
  process.exit(printError(thrown));
}
