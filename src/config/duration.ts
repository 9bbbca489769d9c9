import { type Parsed, quoted } from "./parsed.ts";

/** A day: a longer wait at boot is a mistake, not a wish. */
export const maxDuration = 24 * 60 * 60 * 1000;

const units = [
  { name: "h", milliseconds: 3_600_000 },
  { name: "m", milliseconds: 60_000 },
  { name: "s", milliseconds: 1000 },
  { name: "ms", milliseconds: 1 },
] as const;

const durationPattern = /^(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?(?:(\d{1,9})ms)?$/;

/**
 * `2s`, `500ms`, `1m30s`: milliseconds. A bare number is refused: systemd reads it as seconds, the kernel's own
 * parameters as all sorts of things, and a wrong guess here is a boot that does not wait or does not go on.
 */
export function parseDuration(text: string): Parsed<number> {
  const match = durationPattern.exec(text);
  if (!match || text === "") {
    const bare = /^\d+$/.test(text) ? " (the unit is missing)" : "";
    return { problem: `expected a duration like "2s", "500ms" or "1m30s", got ${quoted(text)}${bare}` };
  }
  const total = units.reduce((sum, unit, index) => sum + Number(match[index + 1] ?? 0) * unit.milliseconds, 0);
  if (total > maxDuration) return { problem: `expected at most ${formatDuration(maxDuration)}, got ${quoted(text)}` };
  return { value: total };
}

/** The shortest text that parses to the same number of milliseconds. */
export function formatDuration(milliseconds: number): string {
  let rest = Math.round(milliseconds);
  let text = "";
  for (const unit of units) {
    const count = Math.floor(rest / unit.milliseconds);
    rest -= count * unit.milliseconds;
    if (count > 0) text += `${count}${unit.name}`;
  }
  return text === "" ? "0s" : text;
}
