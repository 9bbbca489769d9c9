import { Command, CommanderError } from "commander";
import { registerBoot } from "./commands/boot.ts";
import { registerDecrypt } from "./commands/decrypt.ts";
import { registerEnroll } from "./commands/enroll.ts";
import { registerImageNeeds } from "./commands/image-needs.ts";
import { registerInspect } from "./commands/inspect.ts";
import { registerInstall } from "./commands/install.ts";
import { registerReport } from "./commands/report.ts";
import { printError, usageError } from "./commands/run.ts";
import { registerStatus } from "./commands/status.ts";
import { registerUninstall } from "./commands/uninstall.ts";
import { registerUnlock } from "./commands/unlock.ts";
import { registerVerify } from "./commands/verify.ts";
import { exitStatus } from "./system/errors.ts";
import { versionLine } from "./version.ts";

/** In the order of the help. */
const registrations = [
  registerUnlock,
  registerVerify,
  registerStatus,
  registerReport,
  registerInspect,
  registerDecrypt,
  registerEnroll,
  registerInstall,
  registerUninstall,
  registerBoot,
  registerImageNeeds,
];

function commandLine(): Command {
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
  for (const register of registrations) register(program);
  return program;
}

function exitFor(program: Command, thrown: unknown): number {
  if (!(thrown instanceof CommanderError)) return printError(thrown);
  if (thrown.exitCode === 0) return exitStatus.done;
  if (thrown.code !== "commander.help") return printError(usageError(thrown.message));
  process.stderr.write(program.helpInformation());
  return exitStatus.usage;
}

// An error in a timer or a callback ends the process like any other: at boot the system's own question is next.
process.on("uncaughtException", (thrown) => process.exit(printError(thrown)));
process.on("unhandledRejection", (thrown) => process.exit(printError(thrown)));

// Not awaited at top level: while Bun 1.4 waits there, an error thrown in a timer neither ends it nor is seen.
const program = commandLine();
program.parseAsync().catch((thrown: unknown) => process.exit(exitFor(program, thrown)));
