import type { Answer, Question, Way } from "../../system/ask-password/asker.ts";
import { beforeAbort } from "../../system/before-abort.ts";
import type { Clock } from "../../system/clock.ts";
import { LatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import type { Source, SourceContext, WantedVolume } from "../source.ts";
import { Askers, type OpenWay } from "./askers.ts";
import { type Before, describe, questionText } from "./question-text.ts";
import { Tries } from "./tries.ts";

/**
 * The question a person answers at boot. One question serves every volume that is found and still closed; each answer is
 * tried on all of them, its result stands in the next question, and there is no limit on tries but that of crypttab.
 *
 * Two answers are not tried:
 * - an empty one is nearly always Enter by mistake, and deriving a key from it takes seconds: it is asked again. Where a
 *   passphrase really is empty (bcachefs allows it), `latchkey unlock --passphrase-file` with an empty file opens it;
 * - "no" (ctrl-C at our own question, Cancel in an agent) is asked again after a pause, as it may have been meant for
 *   something else on the same console. After DECLINES_AT_BOOT in a row the source ends with `prompt/cancelled`, and when
 *   no other source is left the boot goes on to the system's own way in. By hand the first "no" ends it.
 */
export interface PromptSettings {
  /** The volumes the question is for. */
  readonly volumes: readonly string[];
  /** From chooseWays(): the first is used, the next when it does not work. */
  readonly ways: readonly [Way, ...Way[]];
  readonly openWay: OpenWay;
  readonly clock: Clock;
  /** How many wrong answers a volume takes, where its owner limits them. */
  readonly tries?: ReadonlyMap<string, number>;
}

const DECLINES_AT_BOOT = 3;
const DECLINES_BY_HAND = 1;

/** Milliseconds before a question that was not really answered comes again: neither a person nor a script spins it. */
const PAUSE = 1000;

/**
 * Milliseconds that wanted() has for its answer once something changed. It answers at once when a volume is closed and
 * waits when none is: then the question is taken down.
 */
const WANTED_LIMIT = 100;

export class PromptSource implements Source {
  readonly kind = "prompt";
  readonly name = "prompt";
  readonly isQuestion = true;
  readonly volumes: readonly string[];
  readonly #settings: PromptSettings;

  constructor(settings: PromptSettings) {
    this.volumes = settings.volumes;
    this.#settings = settings;
  }

  async run(whole: SourceContext): Promise<void> {
    const tries = new Tries(this.#settings.tries);
    const context = tries.limit(whole);
    using askers = new Askers(this.#settings.ways, this.#settings.openWay, (text) => context.note(text));
    const question = new ChangingQuestion(context, this.#settings.clock);
    let before: Before = { kind: "nothing" };
    let declines = 0;
    while (!context.signal.aborted) {
      const wanted = await beforeAbort(context.wanted(), context.signal);
      if (!wanted || wanted.length === 0) {
        if (wanted) tries.check();
        return;
      }
      const answer = await question.put(wanted, (signal) => askers.ask(questionFor(wanted, before), signal));
      if (!answer) continue; // taken down: there is another question to ask, or none
      declines = answer.kind === "cancelled" ? declines + 1 : 0;
      if (declines >= (askers.way === "terminal" ? DECLINES_BY_HAND : DECLINES_AT_BOOT))
        throw cancelled(wanted, declines);
      if (answer.kind === "secret" && answer.secret.length > 0) {
        before = await tried(answer.secret, context, before);
      } else {
        before = notTried(answer);
        await this.#settings.clock.sleep(PAUSE, context.signal);
      }
    }
  }
}

/** A question that is taken down when the volumes it is for are others than before. */
class ChangingQuestion {
  readonly #context: SourceContext;
  readonly #clock: Clock;
  #onChange: () => void = () => undefined;

  constructor(context: SourceContext, clock: Clock) {
    this.#context = context;
    this.#clock = clock;
    context.onChange(() => this.#onChange());
  }

  /** @returns undefined when it was taken down */
  async put(
    wanted: readonly WantedVolume[],
    ask: (signal: AbortSignal) => Promise<Answer | undefined>,
  ): Promise<Answer | undefined> {
    const takenDown = new AbortController();
    const takeDown = (): void => takenDown.abort();
    this.#context.signal.addEventListener("abort", takeDown);
    this.#onChange = () => {
      this.#isStillFor(wanted).then((isSame) => isSame || takeDown(), takeDown);
    };
    try {
      if (this.#context.signal.aborted) return undefined;
      return await ask(takenDown.signal);
    } finally {
      this.#onChange = () => undefined;
      this.#context.signal.removeEventListener("abort", takeDown);
    }
  }

  async #isStillFor(wanted: readonly WantedVolume[]): Promise<boolean> {
    const limit = this.#clock.sleep(WANTED_LIMIT, this.#context.signal).then(() => undefined);
    const now = await Promise.race([this.#context.wanted(), limit]);
    return now !== undefined && identity(now) === identity(wanted);
  }
}

function identity(volumes: readonly WantedVolume[]): string {
  return JSON.stringify(volumes.map(({ name, description }) => [name, description]));
}

function questionFor(wanted: readonly WantedVolume[], before: Before): Question {
  return { text: questionText(wanted, before), id: `latchkey:${wanted.map((volume) => volume.name).join(",")}` };
}

function notTried(answer: Answer): Before {
  if (answer.kind !== "secret") return answer;
  answer.secret[Symbol.dispose]();
  return { kind: "empty" };
}

async function tried(secret: SecretBytes, context: SourceContext, before: Before): Promise<Before> {
  const result = await beforeAbort(context.offer(secret), context.signal);
  if (!result) return before;
  const { opened, errors } = result;
  const isWrong = opened.length === 0 && [...errors.values()].some((error) => error.outcome === "wrong-credential");
  const inRow = before.kind === "tried" ? before.wrongAnswers : 0;
  return { kind: "tried", opened, errors, wrongAnswers: isWrong ? inRow + 1 : 0 };
}

function cancelled(wanted: readonly WantedVolume[], declines: number): LatchkeyError {
  const times = declines === 1 ? "" : ` ${declines} times`;
  return new LatchkeyError(
    "prompt/cancelled",
    `the question for the passphrase of ${describe(wanted)} was declined${times}`,
  );
}
