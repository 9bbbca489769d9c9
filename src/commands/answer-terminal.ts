import { shown } from "../sources/prompt/question-text.ts";
import type { Asked, Desk, End } from "../sources/remote/desk.ts";
import type { State } from "../sources/remote/messages.ts";
import type { Asker } from "../system/ask-password/asker.ts";
import { LatchkeyError } from "../system/errors.ts";
import type { SecretBytes } from "../system/secret-bytes.ts";
import { agentQuestion, EMPTY, greeting, news, verdictLines } from "./answer-screen.ts";

export interface TerminalParts {
  readonly desk: Desk;
  readonly asker: Asker;
  readonly wallClock: () => Date;
  /** Shows lines. */
  say(lines: readonly string[]): void;
}

const MESSAGE_WIDTH = 200;

/**
 * A session of a person: shows how things stand, asks, says right or wrong and asks again, until nothing is left to answer.
 * @returns why it is over
 * @throws LatchkeyError when the person declines, or the terminal goes away
 */
export async function answerOnTerminal(parts: TerminalParts, signal: AbortSignal): Promise<End | undefined> {
  const { desk } = parts;
  const told = new Told(parts);
  const page = new Page(parts.say);
  for (;;) {
    const moment = await desk.until(
      () =>
        told.newsOf(desk.state) ??
        endOf(desk) ??
        (desk.question && { kind: "question" as const, ...pick(desk.question) }),
      signal,
    );
    if (!moment) return undefined;
    if (moment.kind === "end") return moment.end;
    if (moment.kind === "news") {
      page.say(moment.lines);
      continue;
    }
    await put(moment.asked, { ...parts, say: (lines) => page.say(lines), page, told }, signal);
  }
}

const endOf = (desk: Desk) => desk.end && { kind: "end" as const, end: desk.end };
const pick = (asked: Asked) => ({ asked });

interface SessionParts extends TerminalParts {
  readonly page: Page;
  readonly told: Told;
}

/** Puts one question, until it is answered or is no longer the one to put. */
async function put(asked: Asked, parts: SessionParts, signal: AbortSignal): Promise<void> {
  const { desk, asker, page, told } = parts;
  const takenDown = new AbortController();
  const both = AbortSignal.any([signal, takenDown.signal]);
  const isOther = (): true | undefined =>
    desk.question?.key !== asked.key || told.hasNews(desk.state) ? true : undefined;
  void desk.until(isOther, both).then(() => takenDown.abort());
  const text =
    asked.by === "agent"
      ? agentQuestion(asked.wanted)
      : `Asked by another program: ${shown(asked.message, MESSAGE_WIDTH)}`;
  page.question();
  try {
    const answer = await asker.ask({ text, id: "latchkey:answer" }, both);
    if (answer?.kind === "cancelled") throw new LatchkeyError("prompt/cancelled", "the question was declined");
    if (answer?.kind === "too-long") parts.say(["that was too long"]);
    if (answer?.kind === "secret") await deliver(asked, answer.secret, parts, signal);
  } finally {
    takenDown.abort();
  }
}

async function deliver(
  asked: Asked,
  secret: SecretBytes,
  { desk, say, told }: SessionParts,
  signal: AbortSignal,
): Promise<void> {
  using answer = secret;
  if (answer.length === 0) return say([EMPTY]);
  if (asked.by === "other") {
    const wasTaken = asked.answer(answer);
    return say([wasTaken ? "passed on; it is asked again if it was wrong" : "somebody else was faster"]);
  }
  say(["trying it"]);
  const verdict = await desk.answerAgent(answer.clone(), signal);
  if (verdict === "gone" && !desk.end) say(["latchkey went away before it said whether that was right"]);
  if (verdict === undefined || verdict === "gone") return;
  told.hears(verdict.opened);
  say(verdictLines(verdict));
}

/** Keeps an empty line above each question. */
class Page {
  readonly #say: TerminalParts["say"];
  #endsEmpty = true;

  constructor(say: TerminalParts["say"]) {
    this.#say = say;
  }

  say(lines: readonly string[]): void {
    this.#say(lines);
    this.#endsEmpty = lines.at(-1) === "";
  }

  question(): void {
    if (!this.#endsEmpty) this.#say([""]);
    this.#endsEmpty = false;
  }
}

/** What this session has been told. */
class Told {
  readonly #wallClock: () => Date;
  readonly #opened = new Set<string>();
  #state: State | undefined;

  constructor({ wallClock }: TerminalParts) {
    this.#wallClock = wallClock;
  }

  /** The verdict on its own answer. */
  hears(opened: readonly string[]): void {
    for (const name of opened) this.#opened.add(name);
  }

  hasNews(state: State | undefined): boolean {
    return state !== undefined && (this.#state === undefined || news(this.#state, state, this.#opened).length > 0);
  }

  newsOf(state: State | undefined): { readonly kind: "news"; readonly lines: readonly string[] } | undefined {
    if (state === undefined || !this.hasNews(state)) return undefined;
    const lines =
      this.#state === undefined ? greeting(state, this.#wallClock()) : news(this.#state, state, this.#opened);
    this.#state = state;
    return { kind: "news", lines };
  }
}
