import { describe, expect, test } from "bun:test";
import type { SourcePlan } from "../../../src/config/plan.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { FakeProvider, fakeSource, forever, offering, planOf, settle, start, volumePlan } from "./fakes.ts";

const absent = () => new LatchkeyError("usb/absent", "root: usb stick: not there");

/** A source that has nothing after a while, and goes on waiting for what may never come. */
const listening = (after: number, plugged: Promise<void> = new Promise(() => undefined)) =>
  fakeSource(
    "usb",
    ["root"],
    async (context) => {
      await Promise.resolve(); // start() has returned then
      void run.clock.sleep(after, context.signal).then(() => context.signal.aborted || context.nothingYet(absent()));
      await Promise.race([plugged, forever(context)]);
      if (!context.signal.aborted) await offering("stick")(context);
    },
    { listens: true },
  );

let run: ReturnType<typeof start>;

describe("a source that listens", () => {
  test("does not keep a run going when every other source has ended: the system's own way in follows", async () => {
    const question = fakeSource("prompt", ["root"], () => Promise.reject(absent()), { isQuestion: true });
    const provider = new FakeProvider({ root: { passphrase: "stick" } });
    run = start(planOf([volumePlan("root")]), provider, [listening(10_000), question]);
    await run.clock.advance(9_999);
    expect(run.isOver()).toBe(false);
    await run.clock.advance(2);
    expect(run.isOver()).toBe(true);
    expect((await run.report).volumes[0]).toMatchObject({ standing: "failed" });
  });

  test("goes on beside a question, and wins when what it waits for comes", async () => {
    const plugged = Promise.withResolvers<void>();
    const question = fakeSource("prompt", ["root"], forever, { isQuestion: true });
    const provider = new FakeProvider({ root: { passphrase: "stick" } });
    run = start(planOf([volumePlan("root")]), provider, [listening(10_000, plugged.promise), question]);
    await run.clock.advance(3_600_000);
    expect(run.isOver()).toBe(false);
    plugged.resolve();
    expect((await run.report).volumes[0]).toMatchObject({ standing: "opened", opened_by: "usb" });
  });

  test("that has not said yet that it has nothing is waited for", async () => {
    const provider = new FakeProvider({ root: { passphrase: "stick" } });
    const failing = fakeSource("tpm", ["root"], () => Promise.reject(absent()));
    run = start(planOf([volumePlan("root")]), provider, [listening(10_000), failing]);
    await run.clock.advance(9_000);
    expect(run.isOver()).toBe(false);
    await run.clock.advance(2_000);
    expect(run.isOver()).toBe(true);
  });
});

describe("a vault", () => {
  const vault: SourcePlan = { kind: "vault", volume: "stick", path: "k", sha256: "", timeout: 10_000 };
  const plan = planOf([volumePlan("root", { sources: [vault] }), volumePlan("stick")]);

  test("whose volumes are open is not waited for, nor asked for", async () => {
    const asked: string[] = [];
    const provider = new FakeProvider({
      root: { passphrase: "typed" },
      stick: { appears: new Promise(() => undefined) },
    });
    run = start(plan, provider, [fakeSource("tpm", ["root"], offering("typed"))]);
    const report = await run.report;
    expect(report.volumes.map(({ standing }) => standing)).toEqual(["opened", "left-to-system"]);
    expect(report.outcome).toBe("done");
    expect(asked).toEqual([]);
  });

  test("that turns up after it was let go stays as it is", async () => {
    const came = Promise.withResolvers<void>();
    const provider = new FakeProvider({
      root: { passphrase: "typed" },
      other: { passphrase: "later" },
      stick: { passphrase: "x", appears: came.promise },
    });
    const later = Promise.withResolvers<void>();
    const withOther = planOf([...plan.volumes, volumePlan("other")]);
    run = start(withOther, provider, [
      fakeSource("tpm", ["root"], offering("typed")),
      fakeSource("tang", ["other"], async (context) => {
        await later.promise;
        await offering("later")(context);
      }),
    ]);
    await settle();
    came.resolve();
    await settle();
    later.resolve();
    const report = await run.report;
    expect(report.volumes.map(({ name, standing }) => [name, standing])).toEqual([
      ["root", "opened"],
      ["stick", "left-to-system"],
      ["other", "opened"],
    ]);
  });

  test("that is still needed is waited for and opened, and its key opens the others", async () => {
    const provider = new FakeProvider({ root: { passphrase: "inside" }, stick: { passphrase: "typed" } });
    const fromVault = fakeSource(
      "vault",
      ["root"],
      async (context) => {
        await new Promise<void>((resolve) => {
          const look = () => {
            const standing = context.progress().volumes.find(({ name }) => name === "stick")?.standing;
            if (standing === "open") resolve();
          };
          context.onChange(look);
          look();
        });
        await offering("inside")(context);
      },
      { listens: true },
    );
    const question = fakeSource("prompt", ["stick"], offering("typed"), { isQuestion: true });
    run = start(plan, provider, [fromVault, question]);
    await run.clock.advance(2_000);
    const report = await run.report;
    expect(report.volumes.map(({ opened_by }) => opened_by)).toEqual(["vault", "prompt"]);
  });
});
