import { Files } from "./files.ts";
import type { Machine, ProgramOptions, ProgramOutcome } from "./machine.ts";

/**
 * The one we run on.
 * @param signal ends the programs that it runs
 */
export function thisMachine(signal?: AbortSignal): Machine {
  return {
    isRoot: process.getuid?.() === 0,
    files: new Files(),
    run: (command, options) => runProgram(command, options, signal),
  };
}

async function runProgram(
  command: readonly string[],
  options: ProgramOptions = {},
  signal?: AbortSignal,
): Promise<ProgramOutcome> {
  try {
    const child = Bun.spawn([...command], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      // Texts of programs are read by us: keep them in one language.
      env: { ...process.env, LC_ALL: "C", ...options.environment },
      ...(options.folder === undefined ? {} : { cwd: options.folder }),
      ...(signal === undefined ? {} : { signal, killSignal: "SIGKILL" as const }),
    });
    const [stdout, stderr, status] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { status, stdout, stderr };
  } catch (thrown) {
    const denied = thrown instanceof Error && "code" in thrown && thrown.code === "EACCES";
    return { status: denied ? 126 : 127, stdout: "", stderr: thrown instanceof Error ? thrown.message : "" };
  }
}
