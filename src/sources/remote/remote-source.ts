import type { RemotePlan } from "../../config/plan.ts";
import { beforeAbort, untilAborted } from "../../system/before-abort.ts";
import type { Clock } from "../../system/clock.ts";
import { asLatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import type { OfferResult, Progress, Source, SourceContext } from "../source.ts";
import { Agent, type Listener } from "./agent.ts";
import { clipped, type Finished, type State, stateOf, type Verdict } from "./messages.ts";
import type { Session } from "./session.ts";

export interface RemoteSettings {
  /** The volumes that answers from afar are tried on. */
  readonly volumes: readonly string[];
  readonly start: RemotePlan["start"];
  readonly clock: Clock;
  /** Users whose processes may answer. */
  readonly trusted: ReadonlySet<number>;
  readonly host: string;
  /** Makes the agent's socket. @throws LatchkeyError */
  listen(): Listener;
  /** Brings the network and the SSH server up. Never throws; what went wrong is a note. */
  openDoor(signal: AbortSignal): Promise<string | undefined>;
  /** Tells the console where to come, as often as that changes, until the signal is aborted. */
  announce(signal: AbortSignal): Promise<void>;
}

/** Milliseconds of pause after the second wrong answer of a session; each further one doubles it, up to the longest. */
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;
const FREE_WRONG_ANSWERS = 1;

/** Milliseconds that an answer has, once all is open, to learn that it was the right one. */
const VERDICT_GRACE = 500;

/** Sessions are written into the report, but a thousand of them must not push out what else is there. */
const MOST_NOTES = 50;

const nothing: Omit<Verdict, "kind"> = { opened: [], failed: [], wait: 0 };

/**
 * A person over SSH: sessions of `latchkey answer` bring answers through the agent's socket. It is there from the first
 * moment, so that a session hears how things stand; answers are tried once people are asked (`fallback`), or at
 * once (`always`). Console and sessions share one question: each answer is tried on all that is closed, and the first good one wins.
 *
 * Answers of all sessions are tried one after the other, and wrong ones cost a session a growing pause: whoever floods us from afar
 * neither takes the processor from the console's answer nor makes it wait for more than one attempt.
 */
export class RemoteSource implements Source {
  readonly kind = "remote";
  readonly name = "remote";
  readonly isQuestion = true;
  readonly runsFromStart = true;
  readonly volumes: readonly string[];
  readonly #settings: RemoteSettings;
  #turn: Promise<unknown> = Promise.resolve();
  #isQuestionTime = false;
  #notes = 0;
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #doorStaysShut = Promise.withResolvers<void>();
  #agent: Agent | undefined;

  constructor(settings: RemoteSettings) {
    this.volumes = settings.volumes;
    this.#settings = settings;
  }

  async run(context: SourceContext): Promise<void> {
    const { clock, listen, start, trusted } = this.#settings;
    const agent = new Agent({
      listener: listen(),
      clock,
      trusted,
      state: () => this.#state(context),
      answer: (session, secret) => this.#noted(this.#answer(session, secret, context)),
    });
    this.#agent = agent;
    context.onChange(() => agent.changed());
    const time = start === "always" ? Promise.resolve() : context.questionTime;
    beforeAbort(time, context.signal)
      .then(() => this.#begin(context, agent))
      .catch((thrown: unknown) => context.note(asLatchkeyError(thrown).message));
    await untilAborted(context.signal);
    // The answer that opened the last volume hears so before the farewell.
    await this.#atMost(VERDICT_GRACE, Promise.all(this.#underWay));
    await agent.finish(outcomeOf(context.progress(), this.volumes));
  }

  /** A person who has come is waited for. Who has no other way to ask waits for one, while the door is open. */
  async deserted(isDeclined: boolean): Promise<void> {
    if (!isDeclined) await this.#doorStaysShut.promise;
    await this.#agent?.empty();
  }

  async #begin(context: SourceContext, agent: Agent): Promise<void> {
    if (context.signal.aborted) return;
    this.#isQuestionTime = true;
    agent.changed();
    const trouble = await this.#settings.openDoor(context.signal);
    if (trouble !== undefined) {
      context.note(trouble);
      this.#doorStaysShut.resolve();
    }
    await this.#settings.announce(context.signal);
  }

  #state(context: SourceContext): State {
    const progress = context.progress();
    return stateOf(progress, {
      host: this.#settings.host,
      now: this.#settings.clock.now(),
      isQuestionTime: this.#isQuestionTime,
      closed: progress.volumes
        .filter(({ name, standing }) => standing === "closed" && this.volumes.includes(name))
        .map(({ name }) => name),
    });
  }

  async #answer(session: Session, secret: SecretBytes, context: SourceContext): Promise<Verdict> {
    using answer = secret;
    if (!this.#isQuestionTime) return { kind: "too-early", ...nothing };
    if (answer.length === 0) return { kind: "empty", ...nothing };
    const { clock } = this.#settings;
    await clock.sleep(Math.max(0, session.notBefore - clock.now()), context.signal);
    const before = this.#turn;
    const mine = Promise.withResolvers<void>();
    this.#turn = mine.promise;
    try {
      await beforeAbort(before, context.signal);
      if (session.isClosed || context.signal.aborted) return { kind: "nothing-closed", ...nothing };
      // A second secret: the heart may still be at work on its own when this session or the boot has moved on.
      const offered = context.offer(answer.clone());
      const tooLate = untilAborted(context.signal).then(() => this.#atMost(VERDICT_GRACE, offered));
      const result = await Promise.race([offered, tooLate]);
      if (!result) return { kind: "nothing-closed", ...nothing };
      return this.#judge(session, result, context);
    } catch (thrown) {
      const reason = clipped(asLatchkeyError(thrown).message);
      return { kind: "tried", ...nothing, failed: [{ name: "", isWrong: false, reason }] };
    } finally {
      mine.resolve();
    }
  }

  async #noted<T>(work: Promise<T>): Promise<T> {
    this.#underWay.add(work);
    try {
      return await work;
    } finally {
      this.#underWay.delete(work);
    }
  }

  /** What the work gives within that many milliseconds. */
  async #atMost<T>(milliseconds: number, work: Promise<T>): Promise<T | undefined> {
    const done = new AbortController();
    const limit = this.#settings.clock.sleep(milliseconds, done.signal).then(() => undefined);
    try {
      return await Promise.race([work, limit]);
    } finally {
      done.abort();
    }
  }

  #judge(session: Session, { opened, errors }: OfferResult, context: SourceContext): Verdict {
    if (opened.length === 0 && errors.size === 0) return { kind: "nothing-closed", ...nothing };
    const isWrong = opened.length === 0 && [...errors.values()].some((error) => error.outcome === "wrong-credential");
    session.wrongAnswers = isWrong ? session.wrongAnswers + 1 : 0;
    const wait = pauseAfter(session.wrongAnswers);
    session.notBefore = this.#settings.clock.now() + wait;
    this.#note(session, isWrong ? "wrong" : opened.length > 0 ? `opened ${opened.join(", ")}` : "failed", context);
    return {
      kind: "tried",
      opened: opened.map((name) => clipped(name)),
      failed: [...errors].slice(0, 64).map(([name, error]) => ({
        name: clipped(name),
        isWrong: error.outcome === "wrong-credential",
        reason: clipped(error.message),
      })),
      wait,
    };
  }

  #note(session: Session, result: string, context: SourceContext): void {
    this.#notes += 1;
    if (this.#notes > MOST_NOTES) return;
    context.note(`answer from ${session.hello?.from ?? "this machine"}: ${result}`);
  }
}

/** Milliseconds until a session's next answer is tried. */
export function pauseAfter(wrongAnswers: number): number {
  if (wrongAnswers <= FREE_WRONG_ANSWERS) return 0;
  return Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(30, wrongAnswers - FREE_WRONG_ANSWERS - 1));
}

/** What sessions are told when the source ends. */
function outcomeOf({ volumes }: Progress, served: readonly string[]): Finished {
  const ours = volumes.filter(({ name }) => served.includes(name));
  const lines = ours
    .filter(({ standing }) => standing !== "open")
    .map(({ name, reason }) => clipped(reason ?? `${name}: not opened`));
  return { isOpen: lines.length === 0, lines: lines.slice(0, 64) };
}
