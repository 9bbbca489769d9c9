import { overallOutcome } from "./outcome.ts";
import { MAX_RECORDS, type Report, type VolumeRecord } from "./report.ts";

/**
 * One report of what several runs did at one boot: initramfs-tools starts latchkey again for devices that come late, and once
 * for each volume with a keyscript. What a run found open is told by the run that opened it.
 */
export function mergeReports(earlier: Report, later: Report): Report {
  const known = new Map(earlier.volumes.map((volume) => [volume.name, volume]));
  const names = new Set(later.volumes.map(({ name }) => name));
  const volumes = [
    ...later.volumes.map((volume) => tellingMore(known.get(volume.name), volume)),
    ...earlier.volumes.filter(({ name }) => !names.has(name)),
  ];
  return {
    ...later,
    started_ms: earlier.started_ms,
    outcome: overallOutcome(volumes),
    volumes,
    attempts: [...earlier.attempts, ...later.attempts].slice(-MAX_RECORDS),
    events: [...earlier.events, ...later.events].slice(-MAX_RECORDS),
    warnings: [...new Set([...earlier.warnings, ...later.warnings])].slice(-MAX_RECORDS),
  };
}

function tellingMore(earlier: VolumeRecord | undefined, later: VolumeRecord): VolumeRecord {
  return earlier?.standing === "opened" && later.standing === "already-open" ? earlier : later;
}
