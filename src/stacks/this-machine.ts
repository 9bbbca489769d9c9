import { Files } from "./files.ts";
import type { Machine, ProgramOptions, ProgramOutcome } from "./machine.ts";

/** The one we run on. */
export function thisMachine(): Machine {
  return { isRoot: process.getuid?.() === 0, files: new Files(), run: runProgram };
}

async function runProgram(command: readonly string[], options: ProgramOptions = {}): Promise<ProgramOutcome> {
  try {
    const child = Bun.spawn([...command], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      // Texts of programs are read by us: keep them in one language.
      env: { ...process.env, LC_ALL: "C", ...options.environment },
      ...(options.folder === undefined ? {} : { cwd: options.folder }),
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
