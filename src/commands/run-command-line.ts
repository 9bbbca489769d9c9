import { type Command, CommanderError } from "commander";
import { exitStatus } from "../system/errors.ts";
import { commandLine } from "./command-line.ts";
import { endOnStrayErrors, printError, usageError } from "./run.ts";

/** Runs the command that the words name, and ends the process with its exit status. */
export async function runCommandLine(words: readonly string[]): Promise<void> {
  endOnStrayErrors();
  const program = await commandLine(words);
  try {
    await program.parseAsync([...words], { from: "user" });
  } catch (thrown) {
    process.exit(exitFor(program, thrown));
  }
}

function exitFor(program: Command, thrown: unknown): number {
  if (!(thrown instanceof CommanderError)) return printError(thrown);
  if (thrown.exitCode === 0) return exitStatus.done;
  if (thrown.code !== "commander.help") return printError(usageError(thrown.message));
  process.stderr.write(program.helpInformation());
  return exitStatus.usage;
}
