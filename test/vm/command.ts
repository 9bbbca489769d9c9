import { appendFileSync } from "node:fs";

/** How much of a failing command's output goes into the message. */
const SHOWN_LINES = 30;

export interface CommandOptions {
  /** What is being done, for messages: "building the trixie chroot". */
  readonly purpose: string;
  /** Milliseconds after which the command is killed. */
  readonly within: number;
  readonly input?: string;
  readonly directory?: string;
  /** Both outputs are added to this file as well. */
  readonly log?: string;
}

/** A command that ended badly, with what it said last. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

/** The same command as root: chroots and mounts need it, QEMU does not. */
export function asRoot(argv: readonly string[]): readonly string[] {
  return process.getuid?.() === 0 ? argv : ["sudo", "-n", "--", ...argv];
}

/**
 * The same command, killed by the kernel when this process dies (PR_SET_PDEATHSIG), so that no guest outlives a test run
 * that was killed. The signal follows the thread that started it: call this from the main thread only.
 */
export function dyingWithUs(argv: readonly string[]): readonly string[] {
  return ["setpriv", "--pdeathsig", "KILL", "--", ...argv];
}

/** Runs a command to its end and gives its standard output. Throws when it fails or takes too long. */
export async function run(argv: readonly string[], options: CommandOptions): Promise<string> {
  const child = Bun.spawn([...dyingWithUs(argv)], {
    stdin: options.input === undefined ? "ignore" : new TextEncoder().encode(options.input),
    stdout: "pipe",
    stderr: "pipe",
    ...(options.directory === undefined ? {} : { cwd: options.directory }),
  });
  let isLate = false;
  const limit = setTimeout(() => {
    isLate = true;
    child.kill("SIGKILL");
  }, options.within);
  try {
    const [output, errors, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    if (options.log !== undefined) appendFileSync(options.log, `$ ${argv.join(" ")}\n${output}${errors}\n`);
    if (status === 0 && !isLate) return output;
    const how = isLate ? `was killed after ${options.within / 1000} s` : `ended with status ${status}`;
    const said = `${output}\n${errors}`.trimEnd().split("\n").slice(-SHOWN_LINES).join("\n");
    throw new CommandError(`${options.purpose}: ${argv[0]} ${how}:\n${said}`);
  } finally {
    clearTimeout(limit);
  }
}
