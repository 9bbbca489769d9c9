import { describe, expect, test } from "bun:test";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { FakeProvider, fakeSource, forever, secretOf, settle, start } from "./fakes.ts";
import { degraded, key, poolOf, withEffect, x } from "./pool-scene.ts";

describe("a member that is missing", () => {
  const never = new Promise<void>(() => undefined);
  const limits = { deviceTimeout: 90_000, memberTimeout: 30_000 };

  test("is waited for from when the first member is there, then named with the time", async () => {
    const first = Promise.withResolvers<void>();
    const provider = new FakeProvider({ a: { ...x, appears: first.promise }, b: { ...x, appears: never }, c: x });
    const plan = poolOf(["a", "b"], limits, ["c"]);
    const run = start(plan, provider, [fakeSource("tpm", ["a", "b"], forever), key(["c"])]);
    await run.clock.advance(10_000);
    first.resolve();
    await run.clock.advance(29_999);
    expect(run.isOver()).toBe(false);
    await run.clock.advance(1);
    const report = await run.report;
    expect(report.outcome).toBe("unavailable");
    expect(report.volumes.map(({ standing, error }) => [standing, error?.reason])).toEqual([
      ["failed", "a: not opened because pool data lacks b (/dev/b), which did not appear within 40 s"],
      ["failed", "b (/dev/b) of pool data did not appear within 40 s"],
      ["opened", undefined],
    ]);
    expect(run.lines).toContain(
      "hint: connect it, or go without: latchkey unlock data --allow-degraded, at boot policy.allow_degraded",
    );
    expect(report.volumes[2]?.settled_ms).toBe(0);
  });

  test("is done without where degraded is allowed: the rest opens, and the outcome is good", async () => {
    const provider = new FakeProvider({ a: x, b: { ...x, appears: never }, c: x });
    const run = start(poolOf(["a", "b", "c"], { ...limits, ...degraded }), provider, [key(["a", "b", "c"])]);
    await run.clock.advance(29_999);
    expect(provider.log).toEqual([]);
    await run.clock.advance(1);
    const report = await run.report;
    expect(withEffect(provider)).toEqual(["open a", "open c"]);
    expect(report.outcome).toBe("done");
    expect(report.volumes.map((volume) => volume.standing)).toEqual(["opened", "missing", "opened"]);
    expect(run.lines[0]).toBe("b: waiting for its devices");
    expect(run.lines[1]).toBe(
      "warning: pool data: going on degraded, without b (/dev/b), which did not appear within 30 s",
    );
  });

  test("has its own time also where the first is waited for less: nothing goes degraded before", async () => {
    const first = Promise.withResolvers<void>();
    const second = Promise.withResolvers<void>();
    const provider = new FakeProvider({ a: { ...x, appears: first.promise }, b: { ...x, appears: second.promise } });
    const plan = poolOf(["a", "b"], { deviceTimeout: 10_000, memberTimeout: 30_000, ...degraded });
    const run = start(plan, provider, [key(["a", "b"])]);
    await run.clock.advance(9_000);
    first.resolve();
    await run.clock.advance(29_000);
    expect(run.isOver()).toBe(false);
    second.resolve();
    expect((await run.report).volumes.map((volume) => volume.standing)).toEqual(["opened", "opened"]);
  });

  test("is not waited for where none comes in the time that the first has", async () => {
    const provider = new FakeProvider({ a: { ...x, appears: never }, b: { ...x, appears: never } });
    const plan = poolOf(["a", "b"], { deviceTimeout: 10_000, memberTimeout: 30_000, ...degraded });
    const run = start(plan, provider, [key(["a", "b"])]);
    await run.clock.advance(10_000);
    expect((await run.report).volumes.map(({ error }) => error?.reason)).toEqual([
      "a (/dev/a) of pool data did not appear within 10 s",
      "b (/dev/b) of pool data did not appear within 10 s",
    ]);
  });

  test("counts as missing also when its disk is dead, but not when it holds something else", async () => {
    const gone = (code: "device/unreadable" | "luks/not-luks2") => new LatchkeyError(code, "b: trouble");
    const dead = new FakeProvider({ a: x, b: { findError: gone("device/unreadable") } });
    const report = await start(poolOf(["a", "b"], degraded), dead, [key(["a", "b"])]).report;
    expect(report.volumes.map((volume) => volume.standing)).toEqual(["opened", "missing"]);
    const other = new FakeProvider({ a: x, b: { findError: gone("luks/not-luks2") } });
    const refused = await start(poolOf(["a", "b"], degraded), other, [key(["a", "b"])]).report;
    expect(withEffect(other)).toEqual([]);
    expect(refused.volumes.map(({ error }) => error?.code)).toEqual(["pool/incomplete", "luks/not-luks2"]);
  });

  test("all of them missing is no degraded pool", async () => {
    const findError = new LatchkeyError("device/missing", "it does not exist");
    const provider = new FakeProvider({ a: { findError }, b: { findError } });
    const report = await start(poolOf(["a", "b"], degraded), provider, [key(["a", "b"])]).report;
    expect(report.outcome).toBe("unavailable");
    expect(report.volumes.map((volume) => volume.standing)).toEqual(["failed", "failed"]);
  });

  test("several are all named", async () => {
    const findError = new LatchkeyError("device/missing", "it does not exist");
    const provider = new FakeProvider({ a: { findError }, b: x, c: { findError } });
    const report = await start(poolOf(["a", "b", "c"]), provider, [key(["a", "b", "c"])]).report;
    expect(report.volumes[1]?.error?.reason).toBe(
      "b: not opened because pool data lacks a (/dev/a), which is not there and c (/dev/c), which is not there",
    );
  });

  test("by hand nothing is waited for, and a slow look at a member is no missing member", async () => {
    const later = Promise.withResolvers<void>();
    const provider = new FakeProvider({ a: x, b: { ...x, appears: later.promise } });
    const run = start(poolOf(["a", "b"], { deviceTimeout: 0, memberTimeout: 0 }), provider, [key(["a", "b"])]);
    await run.clock.advance(1_000);
    expect(run.isOver()).toBe(false);
    later.resolve();
    expect((await run.report).outcome).toBe("done");
  });

  test("does not hold up the question for other volumes, nor its answer", async () => {
    const late = Promise.withResolvers<void>();
    const provider = new FakeProvider({ a: x, b: { ...x, appears: late.promise }, c: x });
    const asked: string[][] = [];
    const question = fakeSource(
      "prompt",
      ["a", "b", "c"],
      async (context) => {
        for (let wanted = await context.wanted(); wanted.length > 0; wanted = await context.wanted()) {
          asked.push(wanted.map(({ name }) => name));
          await context.offer(secretOf("x"));
        }
      },
      { isQuestion: true },
    );
    const run = start(poolOf(["a", "b"], limits, ["c"]), provider, [question]);
    await run.clock.advance(1_000);
    expect(asked).toEqual([["c"]]);
    expect(withEffect(provider)).toEqual(["open c"]);
    late.resolve();
    expect((await run.report).outcome).toBe("done");
    expect(asked).toEqual([["c"], ["a", "b"]]);
  });

  test("a pool that was given up is not opened by a member that comes after all", async () => {
    const late = Promise.withResolvers<void>();
    const findError = new LatchkeyError("bcachefs/superblock-damaged", "a: damaged");
    const provider = new FakeProvider({ a: { findError }, b: { ...x, appears: late.promise }, c: x });
    const slow = fakeSource("tpm", ["c"], forever);
    const run = start(poolOf(["a", "b"], limits, ["c"]), provider, [slow, key(["a", "b"])]);
    await settle();
    late.resolve();
    await settle();
    run.stop.abort();
    const report = await run.report;
    expect(provider.log).toEqual([]);
    expect(report.volumes[1]).toMatchObject({ standing: "failed", error: { code: "pool/incomplete" } });
  });
});
