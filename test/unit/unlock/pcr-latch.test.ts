import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Plan } from "../../../src/config/plan.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { LatchMarks } from "../../../src/unlock/latch-marks.ts";
import { closeLatch, closeLatchAfter, mappingsOpenIn, planLatch } from "../../../src/unlock/pcr-latch.ts";
import type { Report, VolumeStanding } from "../../../src/unlock/report.ts";
import { planOf, volumePlan } from "./fakes.ts";

const withPcr = (pcr?: number): Plan =>
  planOf([volumePlan("root"), volumePlan("data")], {
    policy: { requireEncrypted: true, allowDegraded: false, ...(pcr === undefined ? {} : { sealPcrAfterUnlock: pcr }) },
  });

function reportOf(volumes: Readonly<Record<string, VolumeStanding>>): Report {
  return {
    schema: 1,
    version: "0",
    build: "test",
    started_ms: 0,
    finished_ms: 1,
    outcome: "done",
    volumes: Object.entries(volumes).map(([name, standing]) => {
      return {
        name,
        kind: "luks",
        description: null,
        uuid: null,
        devices: [],
        standing,
        opened_by: null,
        settled_ms: 0,
        error: null,
      };
    }),
    attempts: [],
    events: [],
    warnings: [],
  };
}

describe("the PCR is extended", () => {
  const plan = withPcr(15);
  test("once everything is open, whoever opened it", () => {
    const open = { root: "opened", data: "already-open", d2: "missing", guess: "left-to-system" } as const;
    expect(planLatch(plan, reportOf(open))).toEqual({ do: "extend", pcr: 15 });
  });

  test("not where nobody wants it, nor where there was nothing to open", () => {
    expect(planLatch(withPcr(), reportOf({ root: "opened" }))).toEqual({ do: "nothing" });
    expect(planLatch(plan, reportOf({}))).toEqual({ do: "nothing" });
  });

  test.each(["deferred", "failed", "refused", "closed", "waiting"] as const)("not while one is %s", (standing) => {
    expect(planLatch(plan, reportOf({ root: "opened", data: standing }))).toEqual({
      do: "wait",
      pcr: 15,
      volumes: ["data"],
    });
  });
});

describe("a guess about the root", () => {
  const guessOf = (kind: "clevis" | "prompt"): Plan => {
    const source = kind === "clevis" ? ({ kind, timeout: 1000, token: "/etc/latchkey/root.jwe" } as const) : { kind };
    const root = volumePlan("root", { certainty: "if-bcachefs", sources: [source] });
    return { ...withPcr(15), volumes: [root] };
  };
  const found = (devices: readonly string[]): Report => {
    const report = reportOf({ root: "left-to-system" });
    return { ...report, volumes: report.volumes.map((volume) => ({ ...volume, devices: [...devices] })) };
  };

  test("whose device has not come keeps its token, since another run of the initrd looks again", () => {
    expect(planLatch(guessOf("clevis"), found([]))).toEqual({ do: "wait", pcr: 15, volumes: ["root"] });
  });

  test("that has no token, or was something else, keeps nothing waiting", () => {
    expect(planLatch(guessOf("prompt"), found([]))).toEqual({ do: "extend", pcr: 15 });
    expect(planLatch(guessOf("clevis"), found(["/dev/vda"]))).toEqual({ do: "extend", pcr: 15 });
  });
});

describe("runs of one boot", () => {
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "latchkey-latch-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const marks = () => new LatchMarks(join(folder, "run"));
  const plan = withPcr(15);
  const extended: number[] = [];
  const extend = async (pcr: number): Promise<void> => void extended.push(pcr);
  beforeEach(() => void extended.splice(0));
  const extendedNow = "PCR 15 is extended: tokens bound to it stay shut until the next start";

  test("one that leaves volumes closed says so, and who opens the last of them extends it, once", async () => {
    const report = reportOf({ root: "opened", data: "deferred", more: "deferred" });
    expect(await closeLatch(plan, report, marks(), extend)).toBe(
      "PCR 15 is not extended while data and more are closed: latchkey unlock extends it with the last of them",
    );
    expect(await closeLatchAfter(["/dev/sda1", "more", "other"], plan, marks(), extend)).toBeUndefined();
    expect(extended).toEqual([]);
    expect(await closeLatchAfter(["data"], plan, marks(), extend)).toBe(extendedNow);
    expect(await closeLatchAfter(["data"], plan, marks(), extend)).toBeUndefined();
    expect(extended).toEqual([15]);
    expect(readdirSync(join(folder, "run"))).toEqual(["latched"]);
  });

  test("a second run of the initrd that opens the rest extends it, and a third does not do so again", async () => {
    await closeLatch(plan, reportOf({ root: "opened", data: "deferred" }), marks(), extend);
    const open = reportOf({ root: "already-open", data: "opened" });
    expect(await closeLatch(plan, open, marks(), extend)).toBe(extendedNow);
    expect(await closeLatch(plan, open, marks(), extend)).toBeUndefined();
    expect(await closeLatchAfter(["data"], plan, marks(), extend)).toBeUndefined();
    expect(extended).toEqual([15]);
  });

  test("what an earlier run left closed counts no longer when a later one knows better", async () => {
    await closeLatch(plan, reportOf({ root: "failed", data: "failed" }), marks(), extend);
    await closeLatch(plan, reportOf({ root: "opened", data: "failed" }), marks(), extend);
    expect(await closeLatchAfter(["data"], plan, marks(), extend)).toBe(extendedNow);
  });

  test("unlocking on a system whose boot has left nothing extends nothing", async () => {
    expect(await closeLatchAfter(["data"], plan, marks(), extend)).toBeUndefined();
    expect(extended).toEqual([]);
    expect(existsSync(join(folder, "run"))).toBe(false);
  });

  test("nor does it where the configuration does not want it any longer", async () => {
    await closeLatch(plan, reportOf({ data: "deferred" }), marks(), extend);
    expect(await closeLatchAfter(["data"], withPcr(), marks(), extend)).toBeUndefined();
    expect(extended).toEqual([]);
  });

  test("a TPM that refuses is told", async () => {
    const refuse = () => Promise.reject(new LatchkeyError("tpm2/absent", "there is no TPM"));
    expect(await closeLatch(plan, reportOf({ root: "opened" }), marks(), refuse)).toBe(
      "warning: PCR 15 was not extended, tokens bound to it open again: there is no TPM",
    );
  });

  test("and another run that finds everything open tries again", async () => {
    const refuse = () => Promise.reject(new LatchkeyError("tpm2/absent", "there is no TPM"));
    await closeLatch(plan, reportOf({ root: "opened" }), marks(), refuse);
    expect(await closeLatch(plan, reportOf({ root: "already-open" }), marks(), extend)).toBe(extendedNow);
    expect(extended).toEqual([15]);
  });

  test("and so is a place where no word can be left", async () => {
    writeFileSync(join(folder, "run"), "a file");
    const line = await closeLatch(plan, reportOf({ root: "opened", data: "deferred" }), marks(), extend);
    expect(line).toStartWith("warning: PCR 15 is not extended while data is closed, nor later: cannot use ");
    expect(await closeLatch(plan, reportOf({ root: "opened" }), marks(), extend)).toBe(extendedNow);
  });

  test("a volume with the name of a folder above is no way out of it", async () => {
    mkdirSync(join(folder, "run", "latch-waits-for"), { recursive: true });
    writeFileSync(join(folder, "kept"), "");
    await closeLatchAfter(["../../kept"], plan, marks(), extend);
    expect(existsSync(join(folder, "kept"))).toBe(true);
  });
});

test("a device that was named by hand counts by the name of its mapping", () => {
  const luks = { allowDiscards: false, readOnly: false, openOptions: [], opener: "latchkey", mapping: "data" } as const;
  const plan = planOf([volumePlan("/dev/sdb1", { kind: "luks", luks }), volumePlan("root")]);
  expect(mappingsOpenIn(reportOf({ "/dev/sdb1": "opened", root: "failed" }), plan)).toEqual(["data"]);
});
