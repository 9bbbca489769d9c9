import type { Source, SourceContext } from "../sources/source.ts";
import type { Clock } from "../system/clock.ts";
import { asLatchkeyError, LatchkeyError } from "../system/errors.ts";
import type { Board } from "./board.ts";
import type { Journal } from "./journal.ts";

/** How long a source may take to end after it was told to: then it is left behind, since the boot must go on. */
export const SOURCE_END_LIMIT = 2_000;

export interface RaceParts {
  readonly sources: readonly Source[];
  /** Milliseconds until the question appears at the latest. */
  readonly promptAfter: number;
  readonly clock: Clock;
  readonly board: Board;
  readonly journal: Journal;
  /** Aborted when the race is over. */
  readonly signal: AbortSignal;
  contextFor(
    source: Source,
    signal: AbortSignal,
    nothingYet: (reason: LatchkeyError) => void,
    questionTime: Promise<void>,
  ): SourceContext;
}

export interface Race {
  /** Every automatic source has failed, or prompt_after has passed: a person is asked from now on. */
  readonly questionTime: Promise<void>;
  /** Every source has ended by itself, or no volume is left that it serves; listeners at least have nothing now. */
  readonly exhausted: Promise<void>;
  /** Every source has ended, or has been left behind SOURCE_END_LIMIT after the signal. */
  readonly ended: Promise<void>;
}

/**
 * Runs the sources side by side. Questions wait until every automatic source has failed or said that it has nothing yet,
 * and at most prompt_after; with no automatic source they appear at once.
 */
export function raceSources(parts: RaceParts): Race {
  const questions = parts.sources.filter((source) => source.isQuestion && !source.runsFromStart);
  const earlyQuestions = parts.sources.filter((source) => source.isQuestion && source.runsFromStart);
  const automatic = parts.sources.filter((source) => !source.isQuestion);

  let quiet = 0;
  const allQuiet = Promise.withResolvers<void>();
  if (automatic.length === 0) allQuiet.resolve();
  const questionTime = Promise.withResolvers<void>();
  /** What the end of the race is waited for: a listener that has nothing now may never have anything. */
  const awaited: Promise<unknown>[] = [];
  const running = automatic.map((source) => {
    const hasNothing = Promise.withResolvers<void>();
    let counted = false;
    const countQuiet = (): void => {
      if (counted) return;
      counted = true;
      hasNothing.resolve();
      quiet += 1;
      if (quiet === automatic.length) allQuiet.resolve();
    };
    const end = runSource(source, parts, questionTime.promise, countQuiet).finally(countQuiet);
    awaited.push(source.listens ? hasNothing.promise : end);
    return end;
  });

  const asking = Promise.race([allQuiet.promise, parts.clock.sleep(parts.promptAfter, parts.signal)]).then(async () => {
    if (parts.signal.aborted) return [];
    questionTime.resolve();
    return await Promise.all(
      questions.map(async (source) => ({ source, error: await runSource(source, parts, questionTime.promise) })),
    );
  });
  for (const source of earlyQuestions) {
    const end = runSource(source, parts, questionTime.promise);
    awaited.push(Promise.race([end, asking.then((others) => dispensable(source, others, parts.board))]));
    running.push(end);
  }

  const exhausted = Promise.all([...awaited, asking]).then(() => undefined);
  const all = Promise.all([...running, asking]).then(() => undefined);
  return { questionTime: questionTime.promise, exhausted, ended: patientlyAwait(all, parts.signal, parts.clock) };
}

/** Why a person who was asked is asked no more. */
const declines = new Set(["prompt/cancelled", "prompt/tries-used-up"]);

/**
 * Resolves when the run need not wait for this question although it goes on: where each volume it serves had another question, and
 * those have ended, nobody might ever come.
 */
async function dispensable(
  source: Source,
  others: readonly { readonly source: Source; readonly error: LatchkeyError | undefined }[],
  board: Board,
): Promise<void> {
  const isAskedElsewhere = source.volumes.every(
    (name) => board.isSettled(name) || others.some((other) => other.source.volumes.includes(name)),
  );
  if (!isAskedElsewhere || !source.deserted) return await new Promise(() => undefined);
  await source.deserted(others.some(({ error }) => error !== undefined && declines.has(error.code)));
}

/** Waits for `work`; once the signal is aborted for SOURCE_END_LIMIT more at the most. */
async function patientlyAwait(work: Promise<unknown>, signal: AbortSignal, clock: Clock): Promise<void> {
  const finished = new AbortController();
  const leftBehind = new Promise<void>((resolve) => {
    const patience = (): void => void clock.sleep(SOURCE_END_LIMIT, finished.signal).then(resolve);
    if (signal.aborted) patience();
    else signal.addEventListener("abort", patience, { once: true });
  });
  try {
    await Promise.race([work, leftBehind]);
  } finally {
    finished.abort();
  }
}

/**
 * One source from start to end: bounded by its limit, ended when nothing it serves is left, its failure recorded. Its limit is
 * for getting a credential. What it has offered by then is still tried, and it is not over before that has an end: trying has
 * limits of its own.
 * @returns why it ended, where that was a failure
 */
async function runSource(
  source: Source,
  parts: RaceParts,
  questionTime: Promise<void>,
  onQuiet: () => void = () => undefined,
): Promise<LatchkeyError | undefined> {
  const { board, clock, journal } = parts;
  const own = new AbortController();
  const signal = AbortSignal.any([parts.signal, own.signal]);
  const servesNothing = (): boolean => source.volumes.every((name) => board.isSettled(name));
  const started = clock.now();
  let failure: LatchkeyError | undefined;
  const fail = (error: LatchkeyError): void => {
    failure = error;
    journal.attempt({ volume: null, source, started, error });
    if (!source.isQuestion) journal.announceError(error);
  };

  void board.until(servesNothing, signal).then(() => own.abort());
  const { timeLimit } = source;
  const offers = new Set<Promise<unknown>>();
  let timedOut = false;
  if (timeLimit !== undefined) {
    void clock.sleep(timeLimit, signal).then(() => {
      if (signal.aborted) return;
      timedOut = offers.size === 0;
      own.abort();
      onQuiet();
    });
  }

  journal.event("started", { source: source.name });
  try {
    const nothingYet = (reason: LatchkeyError): void => {
      fail(reason);
      onQuiet();
    };
    const context = parts.contextFor(source, signal, nothingYet, questionTime);
    const running = source.run({
      ...context,
      offer: (secret, volumes) => {
        const offer = context.offer(secret, volumes);
        offers.add(offer);
        const end = (): void => void offers.delete(offer);
        offer.then(end, end);
        return offer;
      },
    });
    running.catch(() => undefined); // it may fail after it was left behind
    await patientlyAwait(running, signal, clock);
    if (timedOut) throw timedOutError(source, timeLimit ?? 0);
  } catch (thrown) {
    if (timedOut) fail(timedOutError(source, timeLimit ?? 0));
    else if (!signal.aborted) fail(asLatchkeyError(thrown));
  } finally {
    own.abort();
    await patientlyAwait(Promise.allSettled(offers), parts.signal, clock);
    journal.event("ended", { source: source.name });
  }
  return failure;
}

function timedOutError(source: Source, limit: number): LatchkeyError {
  return new LatchkeyError("source/timed-out", `${source.name}: no credential within ${limit / 1000} s`);
}
