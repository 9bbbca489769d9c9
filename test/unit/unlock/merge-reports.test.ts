import { describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RunDirectory } from "../../../src/system/run-directory.ts";
import { leaveReport } from "../../../src/unlock/handover.ts";
import { mergeReports } from "../../../src/unlock/merge-reports.ts";
import { type EventRecord, MAX_RECORDS, type Report, type VolumeRecord } from "../../../src/unlock/report.ts";

const volume = (name: string, changes: Partial<VolumeRecord> = {}): VolumeRecord => ({
  name,
  kind: "luks",
  description: `LUKS2 on ${name}`,
  uuid: name,
  devices: [`/dev/${name}`],
  standing: "opened",
  opened_by: "clevis",
  settled_ms: 5,
  error: null,
  ...changes,
});

const event = (text: string): EventRecord => ({ at_ms: 1, volume: null, source: null, text });

const report = (started: number, volumes: VolumeRecord[], changes: Partial<Report> = {}): Report => ({
  schema: 1,
  version: "1.0.0",
  build: "this",
  started_ms: started,
  finished_ms: started + 10,
  outcome: "done",
  volumes,
  attempts: [],
  events: [event(`of ${started}`)],
  warnings: ["the same"],
  ...changes,
});

const missing = { code: "bcachefs/device-missing", reason: "data: is not there" };

describe("the reports of several runs at one boot", () => {
  test("are one: who opened a volume is told, also when a later run found it open", () => {
    const first = report(1, [volume("root"), volume("data", { standing: "failed", error: missing })]);
    const second = report(20, [
      volume("root", { standing: "already-open", opened_by: null }),
      volume("data", { opened_by: "prompt" }),
    ]);
    const merged = mergeReports(first, second);
    expect(merged.volumes.map(({ name, standing, opened_by }) => [name, standing, opened_by])).toEqual([
      ["root", "opened", "clevis"],
      ["data", "opened", "prompt"],
    ]);
    expect(merged).toMatchObject({ started_ms: 1, finished_ms: 30, outcome: "done", warnings: ["the same"] });
    expect(merged.events.map(({ text }) => text)).toEqual(["of 1", "of 20"]);
  });

  test("keep what only an earlier run knew, and its failure", () => {
    const first = report(1, [volume("data", { standing: "failed", error: missing })], { outcome: "unavailable" });
    const merged = mergeReports(first, report(20, [volume("root")]));
    expect(merged.volumes.map(({ name }) => name)).toEqual(["root", "data"]);
    expect(merged.outcome).toBe("unavailable");
  });

  test("do not grow without end", () => {
    const many = Array.from({ length: MAX_RECORDS }, (_, index) => event(`${index}`));
    const merged = mergeReports(report(1, [], { events: many }), report(20, []));
    expect(merged.events).toHaveLength(MAX_RECORDS);
    expect(merged.events.at(-1)?.text).toBe("of 20");
  });

  test("lie in one file; one that cannot be read is replaced", () => {
    const folder = mkdtempSync(join(tmpdir(), "latchkey-reports-"));
    try {
      const directory = new RunDirectory(folder);
      leaveReport(directory, report(1, [volume("root")]));
      leaveReport(directory, report(20, [volume("data")]));
      const read = (): Report => JSON.parse(readFileSync(join(folder, "report.json"), "utf8"));
      expect(read().volumes.map(({ name }) => name)).toEqual(["data", "root"]);
      writeFileSync(join(folder, "report.json"), "{");
      leaveReport(directory, report(30, [volume("data")]));
      expect(read().volumes.map(({ name }) => name)).toEqual(["data"]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
