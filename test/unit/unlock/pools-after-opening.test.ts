import { describe, expect, test } from "bun:test";
import { LatchkeyError } from "../../../src/system/errors.ts";
import type { AfterOpening, OpenGroup } from "../../../src/unlock/after-opening.ts";
import { ProofRoom } from "../../../src/unlock/proof-room.ts";
import { FakeProvider, fakeSource, forever, planOf, plenty, secretOf, start, volumePlan } from "./fakes.ts";
import { degraded, key, poolOf, withEffect, x } from "./pool-scene.ts";

describe("after a pool has opened", () => {
  const finding = { text: "b was away", hint: "scrub it" };
  const nothing = { error: undefined, warnings: [], notes: [] };

  test("it is looked at once, with the members that were open before and those that are missing", async () => {
    const findError = new LatchkeyError("device/missing", "it does not exist");
    const provider = new FakeProvider({
      a: { state: "open", uuid: "u-a" },
      b: { ...x, uuid: "u-b" },
      c: { findError },
    });
    const groups: OpenGroup[] = [];
    const afterOpening: AfterOpening = async (group) => {
      groups.push(group);
      expect(withEffect(provider)).toEqual(["open b"]);
      return { ...nothing, warnings: [finding], notes: ["udev looked again at a, b"] };
    };
    const run = start(poolOf(["a", "b", "c"], degraded), provider, [key(["a", "b", "c"])], { afterOpening });
    const report = await run.report;
    expect(groups).toEqual([
      {
        name: "data",
        isPool: true,
        volumes: [
          { name: "a", kind: "bcachefs", uuid: "u-a" },
          { name: "b", kind: "bcachefs", uuid: "u-b" },
        ],
        missing: ["c"],
      },
    ]);
    expect(report.warnings).toEqual(["pool data: b was away; scrub it"]);
    expect(run.lines).toContain("warning: pool data: b was away");
    expect(report.events).toContainEqual(expect.objectContaining({ volume: "b", text: "udev looked again at a, b" }));
    expect(report.outcome).toBe("done");
  });

  test("what must not stay open is closed again, refused, and not tried another time", async () => {
    const provider = new FakeProvider({ a: x, b: x });
    const error = new LatchkeyError("pool/duplicate-member", "a and b hold the same device");
    const source = fakeSource("tpm", ["a", "b"], async (context) => {
      await context.offer(secretOf("x"));
      await context.offer(secretOf("x"));
    });
    const afterOpening = async () => ({ ...nothing, error });
    const report = await start(poolOf(["a", "b"]), provider, [source], { afterOpening }).report;
    expect(withEffect(provider)).toEqual(["open a", "open b", "close b", "close a"]);
    expect(report.outcome).toBe("refused");
    expect(report.volumes.map((volume) => volume.standing)).toEqual(["refused", "refused"]);
  });

  test("a volume on its own is looked at, too: its filesystem may have devices in others", async () => {
    const groups: OpenGroup[] = [];
    const afterOpening: AfterOpening = async (group) => {
      groups.push(group);
      return nothing;
    };
    await start(planOf([volumePlan("a")]), new FakeProvider({ a: x }), [key(["a"])], { afterOpening }).report;
    expect(groups.map(({ name, isPool }) => [name, isPool])).toEqual([["a", false]]);
  });

  test("it is looked at also when somebody else opens the last one, but what is not ours is not closed", async () => {
    let isOpen = false;
    const provider = new FakeProvider({ a: { state: "open" }, b: { ...x, isOpenNow: () => isOpen } });
    const groups: OpenGroup[] = [];
    const error = new LatchkeyError("pool/duplicate-member", "a and b hold the same device");
    const afterOpening: AfterOpening = async (group) => {
      groups.push(group);
      return { ...nothing, error };
    };
    const question = fakeSource("prompt", ["a", "b"], forever, { isQuestion: true });
    const run = start(poolOf(["a", "b"]), provider, [question], { afterOpening });
    await run.clock.advance(2_000);
    expect(groups).toEqual([]);
    isOpen = true;
    await run.clock.advance(2_000);
    const report = await run.report;
    expect(groups.map(({ volumes }) => volumes.map(({ name }) => name))).toEqual([["a", "b"]]);
    expect(report.volumes.map((volume) => volume.standing)).toEqual(["already-open", "already-open"]);
    expect(run.lines).toContain("a and b hold the same device");
    expect(report.events).toContainEqual(expect.objectContaining({ text: "a and b hold the same device" }));
    expect(withEffect(provider)).toEqual([]);
  });

  test("what this run could not close again was not opened by somebody else", async () => {
    const closeError = new LatchkeyError("keyring/refused", "it is in use");
    const openError = new LatchkeyError("keyring/refused", "b: EDQUOT");
    const members = { a: { ...x, closeError, isOpenNow: () => true }, b: { ...x, openError } };
    const source = fakeSource("tpm", ["a", "b"], async (context) => {
      await context.offer(secretOf("x"));
      await forever(context);
    });
    const run = start(poolOf(["a", "b"]), new FakeProvider(members), [source]);
    await run.clock.advance(5_000);
    run.stop.abort();
    expect((await run.report).volumes[0]).toMatchObject({ standing: "failed", error: { code: "unlock/left-open" } });
    expect(run.lines.join()).not.toContain("somebody else");
  });

  test("nothing is looked at when nothing was opened", async () => {
    const afterOpening = async () => {
      throw new Error("it was looked at");
    };
    const provider = new FakeProvider({ a: { state: "open" }, b: { passphrase: "other" } });
    const room = new ProofRoom(() => plenty);
    const report = await start(poolOf(["a", "b"]), provider, [key(["a", "b"])], { afterOpening, room }).report;
    expect(report.outcome).toBe("wrong-credential");
  });
});
