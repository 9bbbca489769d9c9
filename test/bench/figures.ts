/** Medians, ratios of pairs, and how they are written. */

/** Below this many values quartiles say nothing: the lowest and the highest are shown instead. */
const ENOUGH_FOR_QUARTILES = 8;

/** A value between two neighbours is interpolated. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const below = sorted[Math.floor(place)];
  const above = sorted[Math.ceil(place)];
  if (below === undefined || above === undefined) throw new Error("no values");
  return below + (above - below) * (place - Math.floor(place));
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/**
 * What each value of `ours` is of the value of `theirs` that was measured right beside it: the load of the machine, which
 * changes over a run, cancels out.
 */
export function ratios(ours: readonly number[], theirs: readonly number[]): readonly number[] {
  if (ours.length !== theirs.length) throw new Error("values without a partner");
  return ours.map((value, index) => value / (theirs[index] ?? Number.NaN));
}

/** "521 (514–540)": the median, and where the middle half lies (of few values: all of them). */
export function spread(values: readonly number[], digits: number): string {
  const share = values.length < ENOUGH_FOR_QUARTILES ? 0 : 0.25;
  const [low, high] = [share, 1 - share].map((one) => quantile(values, one).toFixed(digits));
  return `${median(values).toFixed(digits)} (${low}–${high})`;
}

/** One quantity of two rivals. */
export interface Comparison {
  readonly what: string;
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
  readonly digits: number;
}

/** A table of comparisons whose values were measured in pairs. */
export function comparisonTable(names: readonly [string, string], rows: readonly Comparison[]): string {
  return table(
    ["", ...names, "ratio of pairs"],
    rows.map(({ what, ours, theirs, digits }) => [
      what,
      spread(ours, digits),
      spread(theirs, digits),
      spread(ratios(ours, theirs), 2),
    ]),
  );
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`.replaceAll("|  |", "| |");
  return [line(head), line(head.map((_, index) => (index === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");
}

/** "109,533,360" */
export const grouped = (value: number): string => Math.round(value).toLocaleString("en-GB");

/** "1 pair", "3 pairs" */
export const many = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;
