import { describe, questionText, shown } from "../sources/prompt/question-text.ts";
import type { Finished, State, Verdict } from "../sources/remote/messages.ts";
import type { WantedVolume } from "../sources/source.ts";
import { alignColumns } from "../system/text-table.ts";

/**
 * What a session of `latchkey answer` shows. Pure, and the only place with these words. Names and reasons come from disks, tokens and
 * servers: `shown` keeps them to one line of the screen, without anything that moves a cursor.
 */

const NAME_WIDTH = 48;
const TEXT_WIDTH = 100;
const REASON_WIDTH = 160;

/** The first lines of a session. */
export function greeting(state: State, wallClock: Date): readonly string[] {
  const time = `${wallClock.toISOString().slice(0, 19).replace("T", " ")} UTC`;
  return [
    `latchkey on ${shown(state.host, TEXT_WIDTH)}, ${time}, ${elapsed(state.now)} after the start`,
    "",
    ...alignColumns(state.volumes.map(volumeRow)).map((line) => `  ${line}`),
    ...(state.failures.length === 0 ? [] : ["", "tried so far:"]),
    ...alignColumns(state.failures.map(failureRow)).map((line) => `  ${line}`),
    "",
    ...(state.isQuestionTime ? [] : [WAITING]),
  ];
}

export const WAITING = "the automatic ways are still being tried; a question follows when they fail";

function volumeRow({ name, standing, description, reason }: State["volumes"][number]): string[] {
  const what = standing === "failed" ? reason : standing === "waiting" ? "its devices are not there yet" : description;
  return [shown(name, NAME_WIDTH), standing, shown(what ?? "", REASON_WIDTH)];
}

function failureRow({ at, source, reason }: State["failures"][number]): string[] {
  return [elapsed(at), shown(source, NAME_WIDTH), shown(reason, REASON_WIDTH)];
}

/** "25.1 s", "12 min", "7 h 20 min": a machine may have waited for a night. */
export function elapsed(milliseconds: number): string {
  const minutes = Math.floor(milliseconds / 60_000);
  if (minutes < 2) return `${(milliseconds / 1000).toFixed(1)} s`;
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/**
 * What has changed from one state to the next, a line each. Wrong answers of this and other sessions are left out: each session
 * hears of its own by itself.
 * @param known volumes of which this session has heard that they are open
 */
export function news(before: State, now: State, known: ReadonlySet<string> = new Set()): readonly string[] {
  const standingBefore = new Map(before.volumes.map(({ name, standing }) => [name, standing]));
  const volumes = now.volumes.filter(
    ({ name, standing }) => standingBefore.get(name) !== standing && !(standing === "open" && known.has(name)),
  );
  const [last] = before.failures.slice(-1);
  const failures = now.failures.filter(({ at, source }) => source !== "remote" && at > (last?.at ?? -1));
  return [
    ...failures.map((failure) => failureRow(failure).join("  ")),
    ...volumes.map((volume) => volumeRow(volume).join("  ").trimEnd()),
    ...(now.isQuestionTime && !before.isQuestionTime ? ["the automatic ways have not opened everything"] : []),
  ];
}

/** The question for the agent's volumes. */
export function agentQuestion(wanted: readonly WantedVolume[]): string {
  return questionText(wanted, { kind: "nothing" });
}

/** What became of an answer. */
export function verdictLines({ kind, opened, failed, wait }: Verdict): readonly string[] {
  if (kind === "too-early") return [WAITING];
  if (kind === "empty") return [EMPTY];
  if (kind === "nothing-closed") return ["not tried: nothing is waiting for an answer"];
  const wrong = failed.filter(({ isWrong }) => isWrong).map(({ name }) => ({ name, description: "" }));
  const others = failed.filter(({ isWrong }) => !isWrong);
  return [
    ...opened.map((name) => `right: ${shown(name, NAME_WIDTH)} is open`),
    ...(wrong.length > 0 ? [`wrong passphrase for ${describe(wrong)}`] : []),
    ...others.map(({ reason }) => shown(reason, REASON_WIDTH)),
    ...(wait > 0 ? [`the next answer is tried in ${wait / 1000} s`] : []),
  ];
}

export const EMPTY = "nothing was typed";

/** Other programs' questions have been answered; whether all was right only they know. */
export const ANSWERED = "nothing more is asked";

export function farewell({ isOpen, lines }: Pick<Finished, "isOpen" | "lines">): readonly string[] {
  if (isOpen) return ["everything is open, and the boot goes on"];
  return ["latchkey has given up:", ...lines.map((line) => `  ${shown(line, REASON_WIDTH)}`)];
}
