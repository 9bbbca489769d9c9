import { alignColumns } from "../system/text-table.ts";
import type { AttemptRecord, Report, VolumeRecord } from "./report.ts";

const standingWords: Readonly<Record<VolumeRecord["standing"], string>> = {
  waiting: "waiting for its devices",
  closed: "closed",
  opened: "opened",
  "already-open": "already open",
  unencrypted: "not encrypted",
  "left-to-system": "left to the system",
  missing: "MISSING",
  deferred: "left for later",
  refused: "REFUSED",
  failed: "FAILED",
};

/** Milliseconds of the monotonic clock as seconds since the kernel started, as dmesg and the journal show them. */
export function secondsSinceBoot(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(3)} s`;
}

/** The report as a person reads it: outcome, volumes, then what happened in order. */
export function reportText(report: Report): string {
  const ended = report.finished_ms ?? report.started_ms;
  const lines = [
    report.finished_ms === null
      ? `latchkey ${report.version} started ${secondsSinceBoot(report.started_ms)} after the kernel and did not finish`
      : `latchkey ${report.version}: ${report.outcome}, ${secondsSinceBoot(report.started_ms)} to ${secondsSinceBoot(ended)} after the kernel started (${secondsSinceBoot(ended - report.started_ms)})`,
  ];
  if (report.volumes.length === 0) lines.push("", "no volumes: there was nothing to open");
  else lines.push("", ...alignColumns([["VOLUME", "STANDING", "BY", "AT", "WHAT"], ...report.volumes.map(volumeRow)]));
  for (const volume of report.volumes) {
    if (!volume.error) continue;
    lines.push("", `${volume.error.reason} (${volume.error.code})`);
    if (volume.error.hint !== undefined) lines.push(`  hint: ${volume.error.hint}`);
  }
  const timeline = timelineRows(report);
  if (timeline.length > 0) lines.push("", ...alignColumns([["AFTER", "WHO", "WHAT"], ...timeline]));
  for (const warning of report.warnings) lines.push("", `warning: ${warning}`);
  return lines.join("\n");
}

function volumeRow(volume: VolumeRecord): string[] {
  return [
    volume.name,
    standingWords[volume.standing],
    volume.opened_by ?? "-",
    volume.settled_ms === null ? "-" : secondsSinceBoot(volume.settled_ms),
    volume.description ?? volume.kind,
  ];
}

/** Events and attempts in one order, times counted from the start of latchkey. */
function timelineRows(report: Report): string[][] {
  const events = report.events.map((event) => ({
    at: event.at_ms,
    row: [[event.source, event.volume].filter((name) => name !== null).join(" "), event.text],
  }));
  const attempts = report.attempts.map((attempt) => ({ at: attempt.ended_ms, row: attemptRow(attempt) }));
  return [...events, ...attempts]
    .sort((a, b) => a.at - b.at)
    .map(({ at, row }) => [`+${((at - report.started_ms) / 1000).toFixed(3)} s`, ...row]);
}

function attemptRow(attempt: AttemptRecord): string[] {
  const took = secondsSinceBoot(attempt.ended_ms - attempt.started_ms);
  const who = [attempt.source, attempt.volume].filter((name) => name !== null).join(" ");
  return [who, attempt.error ? `${attempt.verdict}: ${attempt.error.reason}` : `${attempt.verdict} in ${took}`];
}
