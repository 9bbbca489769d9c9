import { describe, expect, test } from "bun:test";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { append, MAX_RECORDS, type Report } from "../../../src/unlock/report.ts";
import { parseReport, printReport } from "../../../src/unlock/report-file.ts";
import { reportSvg } from "../../../src/unlock/report-svg.ts";
import { reportText } from "../../../src/unlock/report-text.ts";

const report: Report = {
  schema: 1,
  version: "0.1.0",
  build: "abc",
  started_ms: 3100,
  finished_ms: 9250.5,
  outcome: "refused",
  volumes: [
    {
      name: "root",
      kind: "bcachefs",
      description: 'bcachefs "tank" (2 devices)',
      uuid: "566de22a-5470-4a0f-8fbb-28ef597f1b27",
      devices: ["/dev/vda", "/dev/vdb"],
      standing: "opened",
      opened_by: "prompt",
      settled_ms: 9250,
      error: null,
    },
    {
      name: "backup",
      kind: "bcachefs",
      description: "bcachefs",
      uuid: "7",
      devices: ["/dev/vdc"],
      standing: "refused",
      opened_by: null,
      settled_ms: 3200,
      error: {
        code: "policy/unencrypted",
        reason: "backup: bcachefs is not encrypted: refused",
        hint: "was it swapped?",
      },
    },
  ],
  attempts: [
    {
      volume: "root",
      source: "prompt",
      source_kind: "prompt",
      verdict: "wrong-credential",
      started_ms: 6000,
      ended_ms: 6500,
      error: { code: "bcachefs/wrong-passphrase", reason: "root: wrong passphrase" },
    },
    {
      volume: "root",
      source: "prompt",
      source_kind: "prompt",
      verdict: "opened",
      started_ms: 8750,
      ended_ms: 9250,
      error: null,
    },
  ],
  events: [{ at_ms: 3150, volume: null, source: "prompt", text: "started" }],
  warnings: ["/etc/latchkey/latchkey.toml:3: unknown key"],
};

test("a person reads the outcome first, then volumes, reasons and the order of events", () => {
  expect(reportText(report)).toBe(
    `
latchkey 0.1.0: refused, 3.100 s to 9.251 s after the kernel started (6.151 s)

VOLUME  STANDING  BY      AT       WHAT
root    opened    prompt  9.250 s  bcachefs "tank" (2 devices)
backup  REFUSED   -       3.200 s  bcachefs

backup: bcachefs is not encrypted: refused (policy/unencrypted)
  hint: was it swapped?

AFTER     WHO          WHAT
+0.050 s  prompt       started
+3.400 s  prompt root  wrong-credential: root: wrong passphrase
+6.150 s  prompt root  opened in 0.500 s

warning: /etc/latchkey/latchkey.toml:3: unknown key`.trim(),
  );
});

test("a report of an interrupted run says so", () => {
  expect(reportText({ ...report, finished_ms: null, outcome: null })).toStartWith(
    "latchkey 0.1.0 started 3.100 s after the kernel and did not finish",
  );
});

test("the timeline draws each source and attempt, and disk labels cannot break out of it", () => {
  const hostile = { ...report, attempts: report.attempts.map((a) => ({ ...a, volume: '"><script>' })) };
  const svg = reportSvg(hostile);
  expect(svg.match(/<title>/g)).toHaveLength(2);
  expect(svg).not.toContain("<script>");
  expect(svg).toContain("wrong-credential");
});

describe("report.json", () => {
  test("is read back as it was written", () => {
    expect(parseReport(printReport(report), "report.json")).toEqual(report);
  });

  test.each([
    ["not json", "report.json is not JSON"],
    ["{}", "report.json is not a report: schema"],
    [JSON.stringify({ ...report, schema: 2 }), "report.json is not a report: schema"],
    [JSON.stringify({ ...report, volumes: [{}] }), "report.json is not a report: volumes.0"],
  ])("anything else is refused by name: %#", (text, message) => {
    expect(() => parseReport(text, "report.json")).toThrow(LatchkeyError);
    expect(() => parseReport(text, "report.json")).toThrow(message);
  });

  test("has an end, however often something fails", () => {
    const records: number[] = [];
    for (let i = 0; i < MAX_RECORDS + 10; i += 1) append(records, i);
    expect([records.length, records[0]]).toEqual([MAX_RECORDS, 10]);
  });
});
