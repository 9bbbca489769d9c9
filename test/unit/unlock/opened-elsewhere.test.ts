import { describe, expect, test } from "bun:test";
import { LOOK_EVERY } from "../../../src/unlock/opened-elsewhere.ts";
import type { VolumeStanding } from "../../../src/unlock/report.ts";
import { FakeProvider, fakeSource, forever, offering, planOf, start, volumePlan } from "./fakes.ts";

const question = (volumes: readonly string[]) => fakeSource("prompt", volumes, forever, { isQuestion: true });

describe("a volume that somebody else opens", () => {
  test("is asked for no longer, and the run ends", async () => {
    let isOpen = false;
    const provider = new FakeProvider({ root: { passphrase: "x", isOpenNow: () => isOpen } });
    const run = start(planOf([volumePlan("root")]), provider, [question(["root"])]);
    await run.clock.advance(10 * LOOK_EVERY);
    expect(run.isOver()).toBe(false);
    isOpen = true;
    await run.clock.advance(LOOK_EVERY);
    const report = await run.report;
    expect(report.outcome).toBe("done");
    expect(report.volumes[0]).toMatchObject({ standing: "already-open", opened_by: null });
    expect(run.lines).toEqual(['root: fake "root" was opened by somebody else']);
  });

  test("does not end the question for the others", async () => {
    const provider = new FakeProvider({
      root: { passphrase: "x", isOpenNow: () => true },
      data: { passphrase: "x", isOpenNow: () => false },
    });
    const run = start(planOf([volumePlan("root"), volumePlan("data")]), provider, [question(["root", "data"])]);
    await run.clock.advance(3 * LOOK_EVERY);
    expect(run.isOver()).toBe(false);
    expect(run.lines).toHaveLength(1);
    run.stop.abort();
    expect((await run.report).volumes.map(({ standing }) => standing)).toEqual(["already-open", "failed"]);
  });

  test("is not one that this run is just opening", async () => {
    const opens = Promise.withResolvers<void>();
    let isOpen = false;
    const provider = new FakeProvider({ root: { passphrase: "good", isOpenNow: () => isOpen, opens: opens.promise } });
    const run = start(planOf([volumePlan("root")]), provider, [fakeSource("tpm", ["root"], offering("good"))]);
    await run.clock.advance(1);
    isOpen = true; // its mapping is there, and more is to be done
    await run.clock.advance(5 * LOOK_EVERY);
    expect(run.isOver()).toBe(false);
    opens.resolve();
    expect((await run.report).volumes[0]).toMatchObject({ standing: "opened", opened_by: "tpm" });
    expect(run.lines).toEqual(['root: fake "root" opened by tpm']);
  });

  test("is not one that cannot be looked at", async () => {
    const provider = new FakeProvider({
      root: {
        passphrase: "x",
        isOpenNow: () => {
          throw new Error("no /sys");
        },
      },
    });
    const run = start(planOf([volumePlan("root")]), provider, [question(["root"])]);
    await run.clock.advance(5 * LOOK_EVERY);
    expect(run.isOver()).toBe(false);
    run.stop.abort();
    await run.report;
  });
});

test("whoever wants to know is told once of each volume, when nothing more is tried on it", async () => {
  const told: [string, VolumeStanding][] = [];
  const provider = new FakeProvider({
    root: { passphrase: "good" },
    data: { state: "open" },
    spare: { passphrase: "?" },
  });
  const run = start(
    planOf([volumePlan("root"), volumePlan("data"), volumePlan("spare")]),
    provider,
    [fakeSource("tpm", ["root", "spare"], offering("good"))],
    { settled: (volume, standing) => told.push([volume, standing]) },
  );
  await run.report;
  expect(told).toEqual([
    ["data", "already-open"],
    ["root", "opened"],
    ["spare", "failed"],
  ]);
});
