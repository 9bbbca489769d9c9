import { existsSync, readFileSync, writeSync } from "node:fs";
import { isatty } from "node:tty";
import type { Command } from "commander";
import { shown } from "../sources/prompt/question-text.ts";
import { Desk } from "../sources/remote/desk.ts";
import { AGENT_SOCKET } from "../sources/remote/places.ts";
import { ConsoleAsker } from "../system/ask-password/console-asker.ts";
import {
  answerForeignQuestion,
  processIsAlive,
  readForeignQuestions,
} from "../system/ask-password/foreign-questions.ts";
import { answerAskpass, findAskpass } from "../system/ask-password/pass-fifo.ts";
import { monotonicClock } from "../system/clock.ts";
import { exitStatus, LatchkeyError } from "../system/errors.ts";
import { hangUpSignal } from "../system/hang-up.ts";
import { hardenProcess } from "../system/hardening.ts";
import { readPipedSecret } from "../system/piped-secret.ts";
import { RUN_DIRECTORY } from "../system/run-directory.ts";
import { StreamConnection } from "../system/unix-stream.ts";
import { endError } from "./answer-end.ts";
import { answerFromInput } from "./answer-input.ts";
import { ANSWERED, farewell } from "./answer-screen.ts";
import { answerOnTerminal } from "./answer-terminal.ts";
import { acts } from "./run.ts";

const STDIN = 0;
const STDOUT = 1;
const TERMINAL = "/dev/tty";
/** Where systemd says that it is the init system, sd_booted(3). */
const SYSTEMD = "/run/systemd/system";

/**
 * The forced command of the initrd's SSH server. What the client wanted to run (SSH_ORIGINAL_COMMAND) is not looked at, and there is no
 * option: whoever may log in there can answer, and nothing else.
 */
export function registerAnswer(program: Command): void {
  const command = program
    .command("answer")
    .summary("for SSH: answer what a booting machine asks")
    .description(
      "Shows what waits to be opened and what was tried, takes a passphrase from the terminal or from standard input, says right or wrong, and ends when all is open. It is what the SSH server of an initrd runs, whatever its client asks for.",
    )
    .addHelpText("after", "\nExamples (from another machine):\n  ssh root@server\n  ssh root@server < passphrase-file");
  acts(command, async () => {
    hardenProcess();
    if (process.getuid?.() !== 0) {
      throw new LatchkeyError("answer/not-root", "only root can answer what a booting machine asks", {
        hint: "use sudo",
      });
    }
    using desk = makeDesk();
    if (isatty(STDIN)) return await onTerminal(desk);
    const secret = await readPipedSecret(STDIN);
    await answerFromInput(secret, { desk, say }, hangUpSignal(STDOUT));
    return exitStatus.done;
  });
}

async function onTerminal(desk: Desk): Promise<number> {
  using asker = new ConsoleAsker("terminal", TERMINAL);
  const end = await answerOnTerminal({ desk, asker, wallClock: () => new Date(), say }, hangUpSignal(STDIN));
  asker[Symbol.dispose]();
  const error = end && endError(end);
  if (error) throw error;
  say(end?.kind === "answered" ? [ANSWERED] : farewell({ isOpen: true, lines: [] }));
  return exitStatus.done;
}

function makeDesk(): Desk {
  const runsSystemd = existsSync(SYSTEMD);
  return new Desk({
    clock: monotonicClock,
    from: clientAddress(),
    connect: () => StreamConnection.connect(AGENT_SOCKET),
    foreignQuestions: () => readForeignQuestions({ now: monotonicClock.now(), isAlive: processIsAlive }),
    answerForeign: answerForeignQuestion,
    askpass: () => (runsSystemd ? undefined : findAskpass()),
    answerAskpass: (secret) => answerAskpass(secret),
    isAlive: processIsAlive,
    rootIsMounted: () => isMounted(runsSystemd ? "/sysroot" : "/root"),
    bootIsDone: () => existsSync(`${RUN_DIRECTORY}/finished`) && !existsSync(`${RUN_DIRECTORY}/refused`),
  });
}

/** Where an initrd mounts the root: systemd's at /sysroot, Debian's scripts at /root. Field 5 of /proc/self/mountinfo, proc(5). */
function isMounted(path: string): boolean {
  try {
    const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
    return lines.some((line) => line.split(" ")[4] === path);
  } catch {
    return false;
  }
}

/** The client's address, by the SSH server's word: sshd(8), SSH_CONNECTION. */
function clientAddress(): string | undefined {
  const [address] = (process.env["SSH_CONNECTION"] ?? "").split(" ");
  return address ? shown(address, 64) : undefined;
}

/** Milliseconds until a terminal that takes no output (ctrl-S, a dead network) gets no more of it. */
const OUTPUT_LIMIT = 2000;
const OUTPUT_RETRY = 20;

function say(lines: readonly string[]): void {
  let rest: Uint8Array = new TextEncoder().encode(lines.map((line) => `${line}\n`).join(""));
  for (let waited = 0; rest.length > 0 && waited < OUTPUT_LIMIT; ) {
    try {
      rest = rest.subarray(writeSync(STDOUT, rest));
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== "EAGAIN") return; // gone: the session ends by its own signal
      Bun.sleepSync(OUTPUT_RETRY);
      waited += OUTPUT_RETRY;
    }
  }
}
