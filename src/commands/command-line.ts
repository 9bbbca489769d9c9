import { Command } from "commander";
import { versionLine } from "../version.ts";

type Register = (program: Command) => void;

/**
 * The commands in the order of the help. Each is loaded when it is asked for: a program that starts at boot, or once for each
 * token, does not pay for what the others need.
 */
const commands: Readonly<Record<string, () => Promise<Register>>> = {
  unlock: async () => (await import("./unlock.ts")).registerUnlock,
  check: async () => (await import("./check.ts")).registerCheck,
  verify: async () => (await import("./verify.ts")).registerVerify,
  status: async () => (await import("./status.ts")).registerStatus,
  report: async () => (await import("./report.ts")).registerReport,
  inspect: async () => (await import("./inspect.ts")).registerInspect,
  decrypt: async () => (await import("./decrypt.ts")).registerDecrypt,
  enroll: async () => (await import("./enroll.ts")).registerEnroll,
  install: async () => (await import("./install.ts")).registerInstall,
  uninstall: async () => (await import("./uninstall.ts")).registerUninstall,
  answer: async () => (await import("./answer.ts")).registerAnswer,
  stage: async () => (await import("./stage.ts")).registerStage,
  keyscript: async () => (await import("./keyscript.ts")).registerKeyscript,
  boot: async () => (await import("./boot.ts")).registerBoot,
  "blank-root": async () => (await import("./blank-root.ts")).registerBlankRoot,
  stick: async () => (await import("./stick.ts")).registerStick,
  "read-key": async () => (await import("./read-key.ts")).registerReadKey,
  "image-remote": async () => (await import("./image-remote.ts")).registerImageRemote,
  "image-needs": async () => (await import("./image-needs.ts")).registerImageNeeds,
  "network-down": async () => (await import("./network-down.ts")).registerNetworkDown,
};

/**
 * The command line with the command that `words` begin with, or with all of them: for the help, and for suggestions.
 * @param words the arguments after the program's name
 */
export async function commandLine(words: readonly string[] = []): Promise<Command> {
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
  const [name = ""] = words;
  const chosen = Object.hasOwn(commands, name) ? [commands[name]] : Object.values(commands);
  for (const load of chosen) (await load?.())?.(program);
  return program;
}
