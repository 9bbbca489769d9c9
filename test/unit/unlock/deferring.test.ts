import { describe, expect, test } from "bun:test";
import type { Plan, VolumePlan } from "../../../src/config/plan.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { DEVICES_COME_WITHIN } from "../../../src/unlock/deferring.ts";
import { neededVolumes, volumesThatMayWait } from "../../../src/unlock/needed.ts";
import { FakeProvider, fakeSource, forever, offering, planOf, secretOf, settle, start, volumePlan } from "./fakes.ts";

const luks = { allowDiscards: false, readOnly: false, openOptions: [], opener: "systemd" } as const;
const nofail = { luks: { ...luks, mayFail: true } };
const root = volumePlan("root", { isRoot: true });
const guess = volumePlan("root", { isRoot: true, certainty: "if-bcachefs" });
const data = volumePlan("data", nofail);
const x = { passphrase: "x" };
const y = { passphrase: "y" };
const never = new Promise<void>(() => undefined);
const pool = (...volumes: string[]): Partial<Plan> => ({ pools: [{ name: "p", volumes, origin: { file: "test" } }] });

const begin = (plan: Plan, provider: FakeProvider, sources: Parameters<typeof start>[2]) =>
  start(plan, provider, sources, { needed: neededVolumes(plan) });

/** A person who knows one passphrase, and types it a second after each question. */
function person(volumes: readonly string[], answer = "x") {
  const asked: string[][] = [];
  const source = fakeSource(
    "prompt",
    volumes,
    async (context) => {
      while (!context.signal.aborted) {
        const wanted = await context.wanted();
        if (wanted.length === 0 || context.signal.aborted) return;
        asked.push(wanted.map(({ name }) => name));
        await Bun.sleep(0);
        await context.offer(secretOf(answer));
      }
    },
    { isQuestion: true },
  );
  return { asked, source };
}

describe("volumes that the boot goes on without", () => {
  const other = volumePlan("other", nofail);
  const firm = volumePlan("firm", { luks });
  const remote = volumePlan("remote", { luks: { ...luks, needsNetwork: true } });
  const rows: [string, readonly VolumePlan[], Partial<Plan>, readonly string[]][] = [
    ["nofail, beside a root", [root, data], {}, ["data"]],
    ["what comes over a network", [root, remote], {}, ["remote"]],
    ["not what is firm, nor what is no LUKS", [root, firm, volumePlan("d1")], {}, []],
    ["not the root itself", [{ ...data, isRoot: true }], {}, []],
    ["not what fstab wants in the initrd", [root, { ...data, isForInitrd: true }], {}, []],
    ["a pool of such", [root, data, other], pool("data", "other"), ["data", "other"]],
    ["not a pool with a firm member", [root, data, firm], pool("data", "firm"), []],
    ["not the rest of the root's pool", [root, data], pool("root", "data"), []],
  ];
  test.each(rows)("%s", (_, volumes, more, names) => {
    expect([...volumesThatMayWait(planOf(volumes, more))]).toEqual([...names]);
  });
});

describe("a nofail volume that is there", () => {
  const plan = planOf([root, data]);

  test("is opened by the root's passphrase when that is its own, too", async () => {
    const { asked, source } = person(["root", "data"]);
    const run = begin(plan, new FakeProvider({ root: x, data: x }), [source]);
    await run.clock.advance(0);
    expect((await run.report).volumes.map(({ standing }) => standing)).toEqual(["opened", "opened"]);
    expect(asked).toEqual([["root", "data"]]);
  });

  test("holds up nothing when nobody has answered for it: it is not asked for alone", async () => {
    const { asked, source } = person(["root", "data"]);
    const run = begin(plan, new FakeProvider({ root: x, data: y }), [source]);
    await run.clock.advance(DEVICES_COME_WITHIN - 1);
    expect(run.isOver()).toBe(false);
    await run.clock.advance(1);
    const report = await run.report;
    expect(report.outcome).toBe("done");
    expect(report.volumes.map(({ standing, error }) => [standing, error])).toEqual([
      ["opened", null],
      ["deferred", null],
    ]);
    expect(asked).toEqual([["root", "data"]]);
    const why =
      "nothing has opened it, and the boot does not need it: left to the system that starts now, " +
      "where latchkey@data.service opens it";
    expect(run.lines).toContain(`data: ${why}`);
    expect(report.events).toContainEqual(expect.objectContaining({ volume: "data", text: why }));
  });

  test("is asked for with the root for as long as the root takes", async () => {
    const run = begin(plan, new FakeProvider({ root: x, data: x }), [fakeSource("prompt", ["root", "data"], forever)]);
    await run.clock.advance(80_000);
    expect(run.isOver()).toBe(false);
    run.stop.abort();
    await run.report;
  });

  test("its own automatic sources have until a person would be asked", async () => {
    const opens = Promise.withResolvers<void>();
    const slow = fakeSource("tpm", ["data"], async (context) => {
      await opens.promise;
      await offering("y")(context);
    });
    const sources = [fakeSource("usb", ["root"], offering("x")), slow];
    const patient = planOf(plan.volumes, { promptAfter: 8_000 });
    const run = begin(patient, new FakeProvider({ root: x, data: y }), sources);
    await run.clock.advance(7_999);
    expect(run.isOver()).toBe(false);
    opens.resolve();
    expect((await run.report).volumes.map(({ standing }) => standing)).toEqual(["opened", "opened"]);

    const late = begin(patient, new FakeProvider({ root: x, data: y }), [
      fakeSource("usb", ["root"], offering("x")),
      fakeSource("tpm", ["data"], forever),
    ]);
    await late.clock.advance(8_000);
    expect((await late.report).volumes.map(({ standing }) => standing)).toEqual(["opened", "deferred"]);
  });

  test("a credential that is being tried on it has its verdict", async () => {
    const derived = Promise.withResolvers<void>();
    const provider = new FakeProvider({ root: x, data: { ...x, derives: derived.promise } });
    const run = begin(plan, provider, [person(["root", "data"]).source]);
    await run.clock.advance(10_000);
    expect(run.isOver()).toBe(false);
    derived.resolve();
    expect((await run.report).volumes.map(({ standing }) => standing)).toEqual(["opened", "opened"]);
  });

  test("does not keep the run when the root failed", async () => {
    const error = new LatchkeyError("bcachefs/device-missing", "root did not appear");
    const run = begin(plan, new FakeProvider({ root: { findError: error }, data: x }), [
      fakeSource("prompt", ["root", "data"], forever, { isQuestion: true }),
    ]);
    await run.clock.advance(DEVICES_COME_WITHIN);
    expect((await run.report).volumes.map(({ standing }) => standing)).toEqual(["failed", "deferred"]);
  });
});

describe("where the root is only guessed", () => {
  const plan = planOf([guess, data]);
  const asking = () => fakeSource("prompt", ["data"], forever, { isQuestion: true });

  test("and is found to be something else, elsewhere: the volume does not hold it up", async () => {
    const findError = new LatchkeyError("bcachefs/not-bcachefs", "root is ext4");
    const run = begin(plan, new FakeProvider({ root: { findError }, data: x }), [asking()]);
    await run.clock.advance(DEVICES_COME_WITHIN);
    expect((await run.report).volumes.map(({ standing }) => standing)).toEqual(["left-to-system", "deferred"]);
  });

  test("and does not come, it may lie in the volume: that is asked for until it opens", async () => {
    const findError = new LatchkeyError("bcachefs/device-missing", "root did not appear");
    const run = begin(plan, new FakeProvider({ root: { findError }, data: x }), [asking()]);
    await run.clock.advance(100_000);
    expect(run.isOver()).toBe(false);
    run.stop.abort();
    await run.report;

    const waiting = begin(plan, new FakeProvider({ root: { appears: never }, data: x }), [asking()]);
    await waiting.clock.advance(60_000);
    await settle();
    expect(waiting.isOver()).toBe(false);
    waiting.stop.abort();
    await waiting.report;
  });
});
