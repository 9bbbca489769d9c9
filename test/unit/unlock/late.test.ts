import { describe, expect, test } from "bun:test";
import type { Plan, VolumePlan } from "../../../src/config/plan.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { DEVICES_COME_WITHIN } from "../../../src/unlock/deferring.ts";
import { neededVolumes } from "../../../src/unlock/needed.ts";
import { FakeProvider, fakeSource, forever, offering, planOf, secretOf, settle, start, volumePlan } from "./fakes.ts";

const x = { passphrase: "x" };
const never = new Promise<void>(() => undefined);

describe("a source whose limit passes while its credential is tried", () => {
  const limit = { timeLimit: 10_000 };

  test("has given one in time: it counts when it turns out right later", async () => {
    const slow = Promise.withResolvers<void>();
    const provider = new FakeProvider({ root: { ...x, derives: slow.promise } });
    const run = start(planOf([volumePlan("root")]), provider, [fakeSource("usb", ["root"], offering("x"), limit)]);
    await run.clock.advance(60_000);
    expect(run.isOver()).toBe(false);
    slow.resolve();
    const report = await run.report;
    expect(report.volumes[0]).toMatchObject({ standing: "opened", opened_by: "usb" });
    expect(report.attempts.map(({ verdict }) => verdict)).toEqual(["opened"]);
  });

  test("also when it is for a device that comes later", async () => {
    const later = Promise.withResolvers<void>();
    const provider = new FakeProvider({ root: { ...x, appears: later.promise } });
    const run = start(planOf([volumePlan("root")]), provider, [fakeSource("usb", ["root"], offering("x"), limit)]);
    await run.clock.advance(30_000);
    later.resolve();
    expect((await run.report).outcome).toBe("done");
  });

  test("is not waited for by the question", async () => {
    const asked: number[] = [];
    const provider = new FakeProvider({ root: { ...x, derives: never } });
    const question = fakeSource("prompt", ["root"], async () => void asked.push(run.clock.now()), { isQuestion: true });
    const source = fakeSource("usb", ["root"], offering("x"), { timeLimit: 500 });
    const run = start(planOf([volumePlan("root")]), provider, [source, question]);
    await run.clock.advance(500);
    expect(asked).toEqual([500]);
    run.stop.abort();
    await run.clock.advance(5_000);
    await run.report;
  });

  test("fails for what is wrong with the credential, not for the time", async () => {
    const slow = Promise.withResolvers<void>();
    const provider = new FakeProvider({ root: { ...x, derives: slow.promise } });
    const run = start(planOf([volumePlan("root")]), provider, [fakeSource("usb", ["root"], offering("y"), limit)]);
    await run.clock.advance(20_000);
    slow.resolve();
    const report = await run.report;
    expect(report.attempts.map(({ verdict }) => verdict)).toEqual(["wrong-credential"]);
    expect(report.outcome).toBe("wrong-credential");
  });

  test("one that tried a credential before and has nothing in hand now has run out of time", async () => {
    const provider = new FakeProvider({ root: x });
    const source = fakeSource(
      "usb",
      ["root"],
      async (context) => {
        await context.offer(secretOf("y"));
        await forever(context);
      },
      limit,
    );
    const run = start(planOf([volumePlan("root")]), provider, [source]);
    await run.clock.advance(10_000);
    const report = await run.report;
    expect(report.attempts.map(({ error }) => error?.code)).toEqual(["bcachefs/wrong-passphrase", "source/timed-out"]);
  });

  test("the end of every other source does not end a proof that goes on", async () => {
    const slow = Promise.withResolvers<void>();
    const provider = new FakeProvider({ root: { ...x, derives: slow.promise } });
    const stick = fakeSource(
      "usb",
      ["root"],
      async (context) => {
        context.nothingYet(new LatchkeyError("unlock/no-credential", "no stick is there"));
        await offering("x")(context);
      },
      { listens: true },
    );
    const run = start(planOf([volumePlan("root")]), provider, [stick]);
    await settle();
    expect(run.isOver()).toBe(false);
    slow.resolve();
    expect((await run.report).outcome).toBe("done");
  });
});

describe("the volumes that the initrd needs", () => {
  const luks = { allowDiscards: false, readOnly: false, openOptions: [], opener: "systemd" } as const;
  const root = volumePlan("root", { isRoot: true });
  const usr = volumePlan("usr", { isForInitrd: true });
  const crypt = volumePlan("crypt", { kind: "luks", luks });
  const later = volumePlan("later", { kind: "luks", luks: { ...luks, mayFail: true } });
  const remote = volumePlan("remote", { kind: "luks", luks: { ...luks, needsNetwork: true } });
  const [d1, d2] = [volumePlan("d1"), volumePlan("d2")];
  const pool = (...volumes: string[]): Partial<Plan> => ({ pools: [{ name: "p", volumes, origin: { file: "test" } }] });
  const rows: [string, readonly VolumePlan[], Partial<Plan>, readonly string[]][] = [
    ["the root", [root, d1], {}, ["root"]],
    ["what the system's files want there", [root, usr, d1], {}, ["root", "usr"]],
    ["the rest of the root's pool", [d1, { ...d2, isRoot: true }, root], pool("d1", "d2"), ["d1", "d2", "root"]],
    ["not another pool", [root, d1, d2], pool("d1", "d2"), ["root"]],
    ["LUKS volumes in which the root may lie", [crypt, later, d1], {}, ["crypt"]],
    ["not those over a network", [crypt, remote], {}, ["crypt"]],
    ["those over a network where there is no other", [remote, later], {}, ["remote"]],
    ["not where it is known to lie elsewhere", [crypt, root], {}, ["root"]],
    ["nothing where nothing is known", [d1, d2], {}, []],
  ];
  test.each(rows)("%s", (_, volumes, more, names) => {
    expect([...neededVolumes(planOf(volumes, more))].toSorted()).toEqual([...names].toSorted());
  });
});

describe("what has no device when the initrd has all it needs", () => {
  const needed = new Set(["root"]);
  const plan = planOf([volumePlan("root", { isRoot: true }), volumePlan("data")]);
  const source = () => fakeSource("tpm", ["root", "data"], offering("x"));

  test("is left to the booted system, after the time in which devices come", async () => {
    const provider = new FakeProvider({ root: x, data: { ...x, appears: never } });
    const run = start(plan, provider, [source()], { needed });
    await run.clock.advance(DEVICES_COME_WITHIN - 1);
    expect(run.isOver()).toBe(false);
    await run.clock.advance(1);
    const report = await run.report;
    expect(report.outcome).toBe("done");
    expect(report.volumes.map(({ standing, error }) => [standing, error])).toEqual([
      ["opened", null],
      ["deferred", null],
    ]);
    expect(run.lines).toContain(
      "data: its device is not there yet: left to the system that starts now, where latchkey@data.service opens it",
    );
    expect(report.events).toContainEqual(
      expect.objectContaining({
        volume: "data",
        text: "its device is not there yet: left to the system that starts now, where latchkey@data.service opens it",
      }),
    );
  });

  test("opens with the rest when it comes in that time", async () => {
    const later = Promise.withResolvers<void>();
    const provider = new FakeProvider({ root: x, data: { ...x, appears: later.promise } });
    const run = start(plan, provider, [source()], { needed });
    await run.clock.advance(DEVICES_COME_WITHIN - 1);
    later.resolve();
    expect((await run.report).volumes.map(({ standing }) => standing)).toEqual(["opened", "opened"]);
  });

  test("is waited for as long as the root is, and asked for with it", async () => {
    const answer = Promise.withResolvers<void>();
    const asked: string[][] = [];
    const later = Promise.withResolvers<void>();
    const provider = new FakeProvider({ root: x, data: { ...x, appears: later.promise } });
    const question = fakeSource(
      "prompt",
      ["root", "data"],
      async (context) => {
        await answer.promise;
        asked.push((await context.wanted()).map(({ name }) => name));
        await context.offer(secretOf("x"));
      },
      { isQuestion: true },
    );
    const run = start(plan, provider, [question], { needed });
    await run.clock.advance(40_000);
    later.resolve();
    await settle();
    answer.resolve();
    expect((await run.report).outcome).toBe("done");
    expect(asked).toEqual([["root", "data"]]);
  });

  test("is not left while another volume is there and may yet be opened", async () => {
    const provider = new FakeProvider({ root: x, data: { ...x, appears: never }, there: x });
    const three = planOf([...plan.volumes, volumePlan("there")]);
    const run = start(three, provider, [source(), fakeSource("prompt", ["there"], forever)], { needed });
    await run.clock.advance(60_000);
    expect(run.isOver()).toBe(false);
    run.stop.abort();
    await run.report;
  });

  test("keeps the rest of its pool with it", async () => {
    const provider = new FakeProvider({ root: x, data: { ...x, appears: never }, other: x });
    const pools = [{ name: "p", volumes: ["data", "other"], origin: { file: "test" } }];
    const three = planOf([...plan.volumes, volumePlan("other")], { pools });
    const run = start(three, provider, [source()], { needed });
    await run.clock.advance(DEVICES_COME_WITHIN);
    const report = await run.report;
    expect(report.volumes.map(({ standing }) => standing)).toEqual(["opened", "deferred", "deferred"]);
    expect(run.lines).toContain(
      "other: another member of its pool is not there yet: left to the system that starts now, where latchkey@p.service opens it",
    );
    expect(provider.log.filter((step) => step.startsWith("open"))).toEqual(["open root"]);
  });

  test("is waited for where the initrd needs it", async () => {
    const provider = new FakeProvider({ root: x, data: { ...x, appears: never } });
    const run = start(plan, provider, [source()], { needed: new Set(["root", "data"]) });
    await run.clock.advance(80_000);
    expect(run.isOver()).toBe(false);
    run.stop.abort();
    await run.report;
  });

  test("and everywhere but in the initrd", async () => {
    const run = start(plan, new FakeProvider({ root: x, data: { ...x, appears: never } }), [source()]);
    await run.clock.advance(80_000);
    expect(run.isOver()).toBe(false);
    run.stop.abort();
    await run.report;
  });
});
