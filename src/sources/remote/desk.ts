import type { ForeignQuestion } from "../../system/ask-password/foreign-questions.ts";
import type { AskpassQuestion } from "../../system/ask-password/pass-fifo.ts";
import type { Clock } from "../../system/clock.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import type { WantedVolume } from "../source.ts";
import { AgentClient, type AgentConnection } from "./agent-client.ts";
import type { Finished, State, Verdict } from "./messages.ts";

/** What a session touches. */
export interface DeskParts {
  readonly clock: Clock;
  /** Where the session comes from, for the report. */
  readonly from: string | undefined;
  /** Connects to the agent. @throws LatchkeyError when it is not there */
  connect(): AgentConnection;
  /** What other programs ask through systemd's folder, those of the agent's process included. */
  foreignQuestions(): readonly ForeignQuestion[];
  answerForeign(question: ForeignQuestion, secret: SecretBytes): boolean;
  /** Debian's askpass, where systemd is not. */
  askpass(): AskpassQuestion | undefined;
  answerAskpass(secret: SecretBytes): boolean;
  isAlive(processId: number): boolean;
  /** The real root is mounted: the boot goes on, if nothing asks. */
  rootIsMounted(): boolean;
  /** `latchkey boot` has done its work at this boot. */
  bootIsDone(): boolean;
}

/** A question that an answer can be given to now. */
export type Asked =
  | { readonly by: "agent"; readonly key: string; readonly wanted: readonly WantedVolume[] }
  | {
      readonly by: "other";
      /** Differs from question to question, also when the same is asked again. */
      readonly key: string;
      /** The same when the same is asked again. */
      readonly subject: string;
      readonly message: string;
      /** @returns false when nobody waits for it any more */
      answer(secret: SecretBytes): boolean;
    };

/** Why a session is over. */
export type End =
  | { readonly kind: "open" }
  | { readonly kind: "left-closed"; readonly lines: readonly string[] }
  /** Other programs' questions were answered, and nothing is asked any more. */
  | { readonly kind: "answered" }
  | { readonly kind: "nobody-asks" };

/** Another program that was given an answer. */
interface Asker {
  readonly processId: number;
  /** It makes the mapping itself, and lives until that is done. */
  readonly makesMapping: boolean;
}

/** Milliseconds between two looks at the agent, at other programs' questions, and for an agent that is not there. */
const LOOK_EVERY = 20;
const LOOK_AT_OTHERS_EVERY = 250;
const KNOCK_EVERY = 500;

/** Milliseconds that the agent has to say how things stand, before other programs' questions come first. */
const STATE_LIMIT = 3_000;

/** Milliseconds without any question: until a session that nobody wants to ask ends. The boot may just have begun. */
export const WAIT_FOR_QUESTION = 60_000;
/** The same after latchkey gave up: the system's own question is about to come. */
export const WAIT_FOR_SYSTEM = 15_000;
/** The same after an answer to another program: it would have asked again by now if it was wrong. */
export const WAIT_FOR_REPEAT = 10_000;

/** Everything that can be answered on this machine at this moment: the agent's question first, then those of others. */
export class Desk implements Disposable {
  readonly #parts: DeskParts;
  #client: AgentClient | undefined;
  #finished: Finished | undefined;
  #nextKnock = 0;
  #stateBy = 0;
  #nextLook = 0;
  #others: readonly Asked[] = [];
  #quietSince: number;
  /** Those that were answered by this session, other than the agent. */
  #answered: Asker[] = [];
  #answeredAt = 0;
  readonly #putAlready = new Set<string>();

  constructor(parts: DeskParts) {
    this.#parts = parts;
    this.#quietSince = parts.clock.now();
  }

  /** What the agent last said of the boot. */
  get state(): State | undefined {
    return this.#client?.state;
  }

  get question(): Asked | undefined {
    const state = this.#client?.state;
    if (this.#client && !state && this.#parts.clock.now() < this.#stateBy) return undefined;
    if (!state?.isQuestionTime || state.closed.length === 0) return this.#others[0];
    const wanted = state.closed.map((name) => ({
      name,
      description: state.volumes.find((volume) => volume.name === name)?.description ?? "",
    }));
    return { by: "agent", key: `agent ${JSON.stringify(wanted)}`, wanted };
  }

  get end(): End | undefined {
    if (this.question) return undefined;
    if (this.#client) return undefined;
    const quiet = this.#parts.clock.now() - this.#quietSince;
    // Also after a farewell of the agent's: what systemd-cryptsetup was told may have been wrong.
    if (this.#answered.length > 0) return this.othersAreContent ? { kind: "answered" } : undefined;
    if (this.#finished?.isOpen) return { kind: "open" };
    if (this.#finished) {
      return quiet >= WAIT_FOR_SYSTEM ? { kind: "left-closed", lines: this.#finished.lines } : undefined;
    }
    if (this.#parts.bootIsDone()) return { kind: "open" };
    return quiet >= WAIT_FOR_QUESTION ? { kind: "nobody-asks" } : undefined;
  }

  /**
   * Programs do not say whether an answer was right: they ask again. But systemd-cryptsetup, which makes the mapping itself, has ended by
   * then; of others the question alone has, and what they opened is mounted next. Otherwise time will tell.
   */
  get othersAreContent(): boolean {
    // While the agent is there it is never quiet, but its question has nothing to do with theirs.
    const since = this.#client ? this.#answeredAt : Math.max(this.#answeredAt, this.#quietSince);
    if (this.#parts.clock.now() - since >= WAIT_FOR_REPEAT) return true;
    return this.#answered.every(
      ({ processId, makesMapping }) => !this.#parts.isAlive(processId) && (makesMapping || this.#parts.rootIsMounted()),
    );
  }

  /** The first thing that `look` finds; undefined when the signal is aborted before. */
  async until<T>(look: () => T | undefined, signal: AbortSignal): Promise<T | undefined> {
    while (!signal.aborted) {
      this.#turn();
      const found = look();
      if (found !== undefined) return found;
      await this.#parts.clock.sleep(LOOK_EVERY, signal);
    }
    return undefined;
  }

  /**
   * Hands the agent an answer and waits for what becomes of it. Takes over the scope of the secret.
   * @returns "gone" when the agent went away before it said
   */
  async answerAgent(secret: SecretBytes, signal: AbortSignal): Promise<Verdict | "gone" | undefined> {
    const client = this.#client;
    if (!client) {
      secret[Symbol.dispose]();
      return "gone";
    }
    client.answer(secret);
    return await this.until<Verdict | "gone">(
      () => client.takeVerdict() ?? (this.#client === client ? undefined : "gone"),
      signal,
    );
  }

  #turn(): void {
    const now = this.#parts.clock.now();
    this.#turnClient(now);
    if (now >= this.#nextLook) {
      this.#nextLook = now + LOOK_AT_OTHERS_EVERY;
      this.#others = this.#lookAtOthers();
    }
    if (this.#client !== undefined || this.question !== undefined) this.#quietSince = now;
  }

  #turnClient(now: number): void {
    if (this.#client) {
      this.#client.turn();
      if (!this.#client.isOver && !this.#client.finished) return;
      this.#finished = this.#client.finished;
      // What the system asks now is about to come.
      if (!this.#finished?.isOpen) this.#answered = [];
      // At once: the agent waits a moment for its sessions to go.
      this.#client[Symbol.dispose]();
      this.#client = undefined;
      this.#nextLook = 0;
    }
    // After a farewell, too: where initramfs-tools is the stack, latchkey starts again as long as devices are missing.
    if (this.#finished?.isOpen || now < this.#nextKnock) return;
    this.#nextKnock = now + KNOCK_EVERY;
    try {
      this.#client = new AgentClient(this.#parts.connect(), this.#parts.from);
      this.#stateBy = now + STATE_LIMIT;
      this.#finished = undefined;
      this.#client.turn();
    } catch {
      // Not there yet, or not any more.
    }
  }

  #lookAtOthers(): readonly Asked[] {
    const questions = this.#parts
      .foreignQuestions()
      // While the agent talks to us itself, what its process asks on the console is the same question.
      .filter(({ id }) => this.#client === undefined || !id.startsWith("latchkey:"))
      .map(
        (question): Asked => ({
          by: "other",
          key: question.file,
          subject: question.id || question.message,
          message: question.message || "Password",
          answer: (secret) => {
            const makesMapping = question.id.startsWith("cryptsetup:");
            const asker = { processId: question.processId, makesMapping };
            return this.#noted(question.file, asker, this.#parts.answerForeign(question, secret));
          },
        }),
      );
    const askpass = this.#client === undefined ? this.#parts.askpass() : undefined;
    const key = `askpass ${askpass?.processId}`;
    if (askpass) {
      questions.push({
        by: "other",
        key,
        subject: askpass.message,
        message: askpass.message || "Password",
        answer: (secret) => {
          const asker = { processId: askpass.processId, makesMapping: false };
          return this.#noted(key, asker, this.#parts.answerAskpass(secret));
        },
      });
    }
    return questions.filter((question) => !this.#putAlready.has(question.key));
  }

  /** A question is not put twice: whoever does not like the answer asks anew. */
  #noted(key: string, asker: Asker, wasTaken: boolean): boolean {
    this.#putAlready.add(key);
    this.#others = this.#others.filter((other) => other.key !== key);
    if (!wasTaken) return false;
    this.#answered.push(asker);
    this.#answeredAt = this.#parts.clock.now();
    return true;
  }

  [Symbol.dispose](): void {
    this.#client?.[Symbol.dispose]();
    this.#client = undefined;
  }
}
