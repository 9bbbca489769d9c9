import { z } from "zod";
import { oneLine } from "../../system/errors.ts";
import type { Progress } from "../source.ts";
import { FrameType, jsonFrame, PROTOCOL_VERSION } from "./protocol.ts";

/**
 * The JSON of the frames. Both sides check what they read, though both are root's: a text that came from a disk label must
 * not get to a terminal as it is, and a field that is missing must not end a program in the middle of a boot.
 */

/** Most volumes and failures that a state names, and most characters of each text: a state always fits its frame. */
const MOST_VOLUMES = 64;
const MOST_FAILURES = 24;
const LONGEST_TEXT = 400;

const text = z.string().transform((value) => clipped(value));

const helloSchema = z.strictObject({ version: z.int(), from: text.nullable() });
export type Hello = z.infer<typeof helloSchema>;

const stateSchema = z.object({
  host: text,
  /** Milliseconds of CLOCK_MONOTONIC. */
  now: z.number(),
  /** Answers are taken; before that the automatic sources are still at it. */
  isQuestionTime: z.boolean(),
  volumes: z.array(
    z.object({
      name: text,
      description: text.nullable(),
      standing: z.enum(["waiting", "closed", "open", "failed"]),
      reason: text.nullable(),
    }),
  ),
  failures: z.array(z.object({ at: z.number(), source: text, volume: text.nullable(), reason: text })),
  /** Of the volumes that an answer is tried on now. */
  closed: z.array(text),
});
export type State = z.infer<typeof stateSchema>;

const verdictSchema = z.object({
  /**
   * `tried`: see the rest. `too-early`: the automatic sources are still at it. `nothing-closed`: nothing waits for an answer.
   * `empty`: an empty answer is not tried.
   */
  kind: z.enum(["tried", "too-early", "nothing-closed", "empty"]),
  opened: z.array(text),
  failed: z.array(z.object({ name: text, isWrong: z.boolean(), reason: text })),
  /** Milliseconds until another answer of this session is tried. */
  wait: z.number(),
});
export type Verdict = z.infer<typeof verdictSchema>;

const finishedSchema = z.object({
  /** Nothing is left closed. */
  isOpen: z.boolean(),
  /** What was opened and what was not, one line each. */
  lines: z.array(text),
});
export type Finished = z.infer<typeof finishedSchema>;

export const helloFrame = (from: string | undefined): Uint8Array =>
  jsonFrame(FrameType.hello, { version: PROTOCOL_VERSION, from: from === undefined ? null : clipped(from, 80) });
export const stateFrame = (state: State): Uint8Array => jsonFrame(FrameType.state, state);
export const verdictFrame = (verdict: Verdict): Uint8Array => jsonFrame(FrameType.verdict, verdict);
export const finishedFrame = (finished: Finished): Uint8Array => jsonFrame(FrameType.finished, finished);

/** Each undefined when the octets are not such a message. */
export const parseHello = (body: Uint8Array): Hello | undefined => parsed(helloSchema, body);
export const parseState = (body: Uint8Array): State | undefined => parsed(stateSchema, body);
export const parseVerdict = (body: Uint8Array): Verdict | undefined => parsed(verdictSchema, body);
export const parseFinished = (body: Uint8Array): Finished | undefined => parsed(finishedSchema, body);

function parsed<T>(schema: z.ZodType<T>, body: Uint8Array): T | undefined {
  try {
    const outcome = schema.safeParse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body)));
    return outcome.success ? outcome.data : undefined;
  } catch {
    return undefined;
  }
}

export interface Moment {
  readonly host: string;
  readonly now: number;
  readonly isQuestionTime: boolean;
  readonly closed: readonly string[];
}

/** How things stand, cut to what fits a frame and a screen: of the volumes the first, of the failures the last. */
export function stateOf({ volumes, failures }: Progress, { host, now, isQuestionTime, closed }: Moment): State {
  return {
    host: clipped(host),
    now,
    isQuestionTime,
    volumes: volumes.slice(0, MOST_VOLUMES).map(({ name, description, standing, reason }) => ({
      name: clipped(name),
      description: description === undefined ? null : clipped(description),
      standing,
      reason: reason === undefined ? null : clipped(reason),
    })),
    failures: failures.slice(-MOST_FAILURES).map(({ at, source, volume, reason }) => ({
      at,
      source: clipped(source),
      volume: volume === undefined ? null : clipped(volume),
      reason: clipped(reason),
    })),
    closed: closed.slice(0, MOST_VOLUMES).map((name) => clipped(name)),
  };
}

/** One line, no control characters, not without end. */
export function clipped(value: string, length = LONGEST_TEXT): string {
  const line = oneLine(value);
  return line.length <= length ? line : `${line.slice(0, length - 1).trimEnd()}…`;
}
