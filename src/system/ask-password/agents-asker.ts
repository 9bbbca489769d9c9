import { chmodSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { asLatchkeyError, LatchkeyError } from "../errors.ts";
import { SecretBytes } from "../secret-bytes.ts";
import { DatagramSocket } from "../unix-datagram.ts";
import { type Answer, type Asker, LONGEST_ANSWER, type Question } from "./asker.ts";
import { atExit } from "./at-exit.ts";
import { judgeReply, questionFile } from "./question-file.ts";
import { whenReadable } from "./readiness.ts";
import { scrubSocketBuffers } from "./scrub.ts";

/** Where systemd's agents look for questions. */
export const AGENTS_FOLDER = "/run/systemd/ask-password";

/** Room for the leading `+` and a closing NUL around the longest answer. */
const DATAGRAM_ROOM = LONGEST_ANSWER + 2;

/** Datagrams taken off the socket at its end at most: late answers and what a confused sender adds. */
const LAST_DATAGRAMS = 64;

const ROOT = 0;

/**
 * Asks through systemd's password agents, as `systemd-ask-password --no-tty` would. Not through that program: it hands the
 * answer on by a pipe and through a heap of its own, and each leaves a copy of the passphrase in freed memory.
 */
export class AgentsAsker implements Asker {
  readonly way = "agents";
  readonly #folder: string;
  readonly #trusted: ReadonlySet<number>;

  constructor(folder: string = AGENTS_FOLDER) {
    this.#folder = folder;
    // systemd's own rule is root alone. Whoever runs as ourselves could do all that we can; tests do.
    this.#trusted = new Set([ROOT, process.geteuid?.() ?? ROOT]);
  }

  async ask(question: Question, signal: AbortSignal): Promise<Answer | undefined> {
    if (signal.aborted) return undefined;
    const unique = crypto.randomUUID().replaceAll("-", "");
    const file = join(this.#folder, `ask.${unique}`);
    const draft = join(this.#folder, `tmp.${unique}`);
    // The question goes first, then its socket: an agent must not find a question that nobody can be told the answer of.
    using stack = new DisposableStack();
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o755 });
      const socket = stack.use(DatagramSocket.bind(join(this.#folder, `sck.${unique}`)));
      const withdraw = (): void => {
        for (const path of [draft, file, socket.path]) rmSync(path, { force: true });
      };
      stack.defer(() => this.#empty(socket));
      stack.defer(withdraw);
      stack.use(atExit(withdraw));
      writeFileSync(draft, questionFile(question, process.pid, socket.path), { flag: "wx" });
      chmodSync(draft, 0o644); // agents may run as another user; the question is no secret
      renameSync(draft, file); // agents must never see half a question
      while (await whenReadable(socket.fd, signal)) {
        const answer = this.#receive(socket);
        if (answer) return answer;
      }
      return undefined;
    } catch (thrown) {
      throw cannotAsk(this.#folder, thrown);
    }
  }

  #receive(socket: DatagramSocket): Answer | undefined {
    const room = SecretBytes.allocate(DATAGRAM_ROOM);
    const datagram = socket.receive(room);
    if (!datagram) {
      room[Symbol.dispose]();
      return undefined;
    }
    scrubSocketBuffers(datagram.length);
    // The socket is 0600 in root's folder, so a stranger cannot send; the kernel's word on the sender costs nothing.
    const isTrusted = datagram.sender !== undefined && this.#trusted.has(datagram.sender.uid);
    const reply = isTrusted ? judgeReply(room.bytes.subarray(0, datagram.length)) : ({ kind: "invalid" } as const);
    if (reply.kind === "password" && !datagram.isCut && reply.end - reply.start <= LONGEST_ANSWER) {
      room.bytes.copyWithin(0, reply.start, reply.end);
      return { kind: "secret", secret: room.truncate(reply.end - reply.start) };
    }
    room[Symbol.dispose]();
    if (reply.kind === "declined") return { kind: "cancelled" };
    return reply.kind === "password" ? { kind: "too-long" } : undefined;
  }

  /** Takes off the socket what came too late to count, so that it is wiped like an answer and not just freed. */
  #empty(socket: DatagramSocket): void {
    using bin = SecretBytes.allocate(DATAGRAM_ROOM);
    let longest = 0;
    for (let taken = 0; taken < LAST_DATAGRAMS; taken++) {
      const datagram = socket.receive(bin);
      if (!datagram) break;
      longest = Math.max(longest, datagram.length);
    }
    if (longest > 0) scrubSocketBuffers(longest);
  }

  [Symbol.dispose](): void {
    // Each question takes its own things away.
  }
}

function cannotAsk(folder: string, thrown: unknown): LatchkeyError {
  if (thrown instanceof LatchkeyError) return thrown;
  if (!(thrown instanceof Error && "code" in thrown)) return asLatchkeyError(thrown);
  return new LatchkeyError("prompt/no-agents", `cannot put a question into ${folder} (${String(thrown.code)})`, {
    cause: thrown,
  });
}
