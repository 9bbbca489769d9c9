import type { Report, Verdict } from "./report.ts";

const WIDTH = 960;
const LEFT = 150;
const RIGHT = 30;
const ROW = 30;
const TOP = 64;

const colours: Readonly<Record<Verdict, string>> = {
  opened: "#2e7d32",
  "wrong-credential": "#ef6c00",
  unavailable: "#757575",
  refused: "#c62828",
  failed: "#c62828",
};

/** Names come from configuration and disk labels, so they are escaped for XML. */
function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** The report as a timeline: one row per source, its running time as a band, each attempt as a bar in its verdict's colour. */
export function reportSvg(report: Report): string {
  const end = report.finished_ms ?? Math.max(report.started_ms, ...report.attempts.map((attempt) => attempt.ended_ms));
  const span = Math.max(end - report.started_ms, 1);
  const x = (at: number): number => LEFT + ((at - report.started_ms) / span) * (WIDTH - LEFT - RIGHT);
  const sources = [
    ...new Set([...report.events, ...report.attempts].map((record) => record.source).filter((name) => name !== null)),
  ];
  const height = TOP + sources.length * ROW + 40;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="13">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="16" y="26" font-size="16">latchkey ${escaped(report.version)}: ${report.outcome ?? "did not finish"}</text>`,
    `<text x="16" y="46" fill="#555">${escaped(report.volumes.map((v) => `${v.name} ${v.standing}`).join(" · "))}</text>`,
  ];
  sources.forEach((source, index) => {
    const y = TOP + index * ROW;
    const events = report.events.filter((event) => event.source === source);
    const from = x(events.find((event) => event.text === "started")?.at_ms ?? report.started_ms);
    const to = x(events.findLast((event) => event.text === "ended")?.at_ms ?? end);
    parts.push(`<text x="${LEFT - 10}" y="${y + 17}" text-anchor="end">${escaped(source)}</text>`);
    parts.push(
      `<rect x="${from.toFixed(1)}" y="${y + 4}" width="${(to - from).toFixed(1)}" height="18" fill="#e3eaf2"/>`,
    );
    for (const attempt of report.attempts.filter((candidate) => candidate.source === source)) {
      const start = x(attempt.started_ms);
      const width = Math.max(x(attempt.ended_ms) - start, 3);
      const title = `${attempt.volume ?? source}: ${attempt.verdict}${attempt.error ? `: ${attempt.error.reason}` : ""}`;
      parts.push(
        `<rect x="${start.toFixed(1)}" y="${y + 4}" width="${width.toFixed(1)}" height="18" fill="${colours[attempt.verdict]}">` +
          `<title>${escaped(title)}</title></rect>`,
      );
    }
  });
  const axis = TOP + sources.length * ROW + 8;
  parts.push(`<line x1="${LEFT}" y1="${axis}" x2="${WIDTH - RIGHT}" y2="${axis}" stroke="#999"/>`);
  for (let tick = 0; tick <= 4; tick += 1) {
    const at = report.started_ms + (span * tick) / 4;
    const label = `${(at / 1000).toFixed(1)} s`;
    parts.push(`<text x="${x(at).toFixed(1)}" y="${axis + 18}" text-anchor="middle" fill="#555">${label}</text>`);
  }
  return `${[...parts, "</svg>"].join("\n")}\n`;
}
