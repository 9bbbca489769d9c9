import { describe, expect, test } from "bun:test";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { FakeProvider, fakeSource, forever, offering, planOf, secretOf, settle, start, volumePlan } from "./fakes.ts";

const unavailable = () => new LatchkeyError("unlock/no-credential", "the TPM is not there");
describe("the race", () => {
  test("the first good credential ends everything else", async () => {
    const provider = new FakeProvider({ root: { passphrase: "good" } });
    const ended: string[] = [];
    const other = fakeSource("other", ["root"], (context) => forever(context).then(() => void ended.push("other")));
    const run = start(planOf([volumePlan("root")]), provider, [other, fakeSource("tpm", ["root"], offering("good"))]);
    const report = await run.report;
    expect(report.outcome).toBe("done");
    expect(report.volumes[0]).toMatchObject({ standing: "opened", opened_by: "tpm" });
    expect(ended).toEqual(["other"]);
    expect(run.lines).toEqual(['root: fake "root" opened by tpm']);
  });

  test("the question appears at once when the automatic sources have failed", async () => {
    const asked: number[] = [];
    const provider = new FakeProvider({ root: { passphrase: "typed" } });
    const question = fakeSource(
      "prompt",
      ["root"],
      async (context) => {
        asked.push(run.clock.now());
        await offering("typed")(context);
      },
      { isQuestion: true },
    );
    const failing = fakeSource("tpm", ["root"], () => Promise.reject(unavailable()));
    const run = start(planOf([volumePlan("root")]), provider, [question, failing]);
    expect((await run.report).volumes[0]?.opened_by).toBe("prompt");
    expect(asked).toEqual([0]);
    expect(run.lines[0]).toBe("the TPM is not there");
  });

  test("the question appears after prompt_after while a stalled source still runs, and either may win", async () => {
    const asked: number[] = [];
    const provider = new FakeProvider({ root: { passphrase: "typed" } });
    const question = fakeSource(
      "prompt",
      ["root"],
      async (context) => {
        asked.push(run.clock.now());
        await offering("typed")(context);
      },
      { isQuestion: true },
    );
    const run = start(planOf([volumePlan("root")]), provider, [question, fakeSource("tang", ["root"], forever)]);
    await run.clock.advance(1999);
    expect(asked).toEqual([]);
    await run.clock.advance(1);
    expect(asked).toEqual([2000]);
    expect((await run.report).outcome).toBe("done");
  });

  test("a source that has nothing yet releases the question and can still win", async () => {
    const provider = new FakeProvider({ root: { passphrase: "stick" } });
    const plugged = Promise.withResolvers<void>();
    const stick = fakeSource("usb", ["root"], async (context) => {
      context.nothingYet(unavailable());
      await plugged.promise;
      await offering("stick")(context);
    });
    let asked = false;
    const question = fakeSource(
      "prompt",
      ["root"],
      (context) => {
        asked = true;
        return forever(context);
      },
      { isQuestion: true },
    );
    const run = start(planOf([volumePlan("root")]), provider, [stick, question]);
    await settle();
    expect(asked).toBe(true);
    plugged.resolve();
    expect((await run.report).volumes[0]?.opened_by).toBe("usb");
  });

  test("a source over its limit is named, and one that ignores its signal is left behind", async () => {
    const provider = new FakeProvider({ root: { passphrase: "x" } });
    const deaf = fakeSource("tang", ["root"], () => new Promise(() => undefined), { timeLimit: 15_000 });
    const run = start(planOf([volumePlan("root")]), provider, [deaf]);
    await run.clock.advance(15_000);
    await run.clock.advance(2_000);
    const report = await run.report;
    expect(report.outcome).toBe("unavailable");
    expect(report.volumes[0]?.error).toMatchObject({
      code: "source/timed-out",
      reason: "tang: no credential within 15 s",
    });
  });

  test("a credential for a device that is late waits for it", async () => {
    const appears = Promise.withResolvers<void>();
    const provider = new FakeProvider({ root: { passphrase: "good", appears: appears.promise } });
    const run = start(planOf([volumePlan("root")]), provider, [
      fakeSource("tpm", ["root"], async (context) => {
        await context.offer(secretOf("good"), ["root"]);
      }),
    ]);
    await run.clock.advance(5000);
    expect(run.isOver()).toBe(false);
    appears.resolve();
    expect((await run.report).volumes[0]?.standing).toBe("opened");
  });

  test("a person is told what is waited for, but not at once", async () => {
    const appears = Promise.withResolvers<void>();
    const provider = new FakeProvider({ root: { passphrase: "good", appears: appears.promise } });
    const run = start(planOf([volumePlan("root")]), provider, [fakeSource("tpm", ["root"], offering("good"))]);
    await run.clock.advance(4999);
    expect(run.lines).toEqual([]);
    await run.clock.advance(1);
    expect(run.lines).toEqual(["root: waiting for its devices"]);
    appears.resolve();
    await run.report;
  });

  test("who was told what is waited for is told when it is something else", async () => {
    const appears = Promise.withResolvers<void>();
    const [first, second] = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
    const provider = new FakeProvider({
      root: { passphrase: "good", appears: appears.promise, notes: [first.promise, second.promise] },
    });
    const run = start(planOf([volumePlan("root")]), provider, [fakeSource("tpm", ["root"], offering("good"))]);
    first.resolve("waiting for UUID=1");
    await run.clock.advance(5000);
    second.resolve("waiting for 1 of 2 members");
    await run.clock.advance(1);
    expect(run.lines).toEqual(["root: waiting for UUID=1", "root: waiting for 1 of 2 members"]);
    appears.resolve();
    await run.report;
  });

  test("a guess is not told while something else is asked for", async () => {
    const never = new Promise<void>(() => undefined);
    const provider = new FakeProvider({ data: { passphrase: "good" }, root: { passphrase: "good", appears: never } });
    const asks = Promise.withResolvers<void>();
    const run = start(planOf([volumePlan("data"), { ...volumePlan("root"), certainty: "if-bcachefs" }]), provider, [
      fakeSource("prompt", ["data"], async (context) => {
        await asks.promise;
        await context.offer(secretOf("good"));
      }),
    ]);
    await run.clock.advance(5000);
    expect(run.lines).toEqual([]);
    asks.resolve();
    await run.clock.advance(1);
    expect(run.lines.join("\n")).toContain("data");
  });

  test("with rd.latchkey.debug the console shows every event", async () => {
    const provider = new FakeProvider({ root: { passphrase: "good" } });
    const plan = planOf([volumePlan("root")], { debug: true });
    const run = start(plan, provider, [fakeSource("tpm", ["root"], offering("good"))]);
    await run.report;
    expect(run.lines).toContain("debug: tpm: started");
    expect(run.lines).toContain("debug: tpm: ended");
  });

  test("a defect in a source is an error in the report, not an end of the boot", async () => {
    const provider = new FakeProvider({ root: { passphrase: "typed" } });
    const broken = fakeSource("broken", ["root"], () => Promise.reject(new TypeError("undefined is not a function")));
    const question = fakeSource("prompt", ["root"], offering("typed"), { isQuestion: true });
    const report = await start(planOf([volumePlan("root")]), provider, [broken, question]).report;
    expect(report.outcome).toBe("done");
    expect(report.attempts[0]).toMatchObject({
      source: "broken",
      verdict: "failed",
      error: { code: "internal/defect" },
    });
  });
});

describe("one question for all", () => {
  test("one answer opens every volume it fits, and the question goes on for the rest", async () => {
    const provider = new FakeProvider({ a: { passphrase: "one" }, b: { passphrase: "two" }, c: { passphrase: "one" } });
    const wanted: string[][] = [];
    const question = fakeSource(
      "prompt",
      ["a", "b", "c"],
      async (context) => {
        for (const answer of ["none", "one", "two"]) {
          wanted.push((await context.wanted()).map((volume) => volume.name));
          await context.offer(secretOf(answer));
        }
      },
      { isQuestion: true },
    );
    const report = await start(planOf(["a", "b", "c"].map((name) => volumePlan(name))), provider, [question]).report;
    expect(report.outcome).toBe("done");
    expect(wanted).toEqual([["a", "b", "c"], ["a", "b", "c"], ["b"]]);
    // Volumes are tried side by side, so the order within one answer is open.
    const verdicts = report.attempts.map((attempt) => `${attempt.volume} ${attempt.verdict}`);
    expect([verdicts.slice(0, 3).sort(), verdicts.slice(3, 6).sort(), verdicts.slice(6)]).toEqual([
      ["a wrong-credential", "b wrong-credential", "c wrong-credential"],
      ["a opened", "b wrong-credential", "c opened"],
      ["b opened"],
    ]);
  });
});

describe("what needs no credential", () => {
  const noQuestion = fakeSource("prompt", ["root"], async (context) => void (await context.wanted()), {
    isQuestion: true,
  });

  test("an open volume is left alone", async () => {
    const provider = new FakeProvider({ root: { state: "open" } });
    const report = await start(planOf([volumePlan("root")]), provider, [noQuestion]).report;
    expect(report.volumes[0]?.standing).toBe("already-open");
    expect(report.outcome).toBe("done");
  });

  test.each([
    ["unencrypted", "policy/unencrypted"],
    ["unprotected", "policy/unprotected"],
  ] as const)("an %s volume is refused where policy wants encryption", async (state, code) => {
    const provider = new FakeProvider({ root: { state } });
    const report = await start(planOf([volumePlan("root")]), provider, [noQuestion]).report;
    expect(report.outcome).toBe("refused");
    expect(report.volumes[0]).toMatchObject({ standing: "refused", error: { code } });
  });

  test("and accepted where it does not", async () => {
    const provider = new FakeProvider({ root: { state: "unencrypted" } });
    const plan = planOf([volumePlan("root", { requireEncrypted: false })]);
    expect((await start(plan, provider, [noQuestion]).report).outcome).toBe("done");
  });
});

test("a bare root= that holds nothing for latchkey is left to the system without an error", async () => {
  const findError = new LatchkeyError("unlock/no-provider", "root: /dev/vda holds no bcachefs");
  const provider = new FakeProvider({ root: { findError } });
  const report = await start(planOf([volumePlan("root", { certainty: "if-bcachefs" })]), provider, []).report;
  expect(report.outcome).toBe("done");
  expect(report.volumes[0]).toMatchObject({ standing: "left-to-system", error: null });
});

test("an interruption ends it with every closed volume named", async () => {
  const provider = new FakeProvider({ root: { passphrase: "x" } });
  const run = start(planOf([volumePlan("root")]), provider, [fakeSource("tang", ["root"], forever)]);
  await settle();
  run.stop.abort();
  expect((await run.report).volumes[0]?.error).toMatchObject({ code: "unlock/interrupted" });
});

test("several reasons come in one line, each with its source", async () => {
  const provider = new FakeProvider({ root: { passphrase: "x" } });
  const report = await start(planOf([volumePlan("root")]), provider, [
    fakeSource("tpm", ["root"], () => Promise.reject(unavailable())),
    fakeSource("keyfile", ["root"], offering("wrong")),
  ]).report;
  expect(report.volumes[0]?.error?.reason).toBe(
    "root: no source opened it (tpm: the TPM is not there; keyfile: root: wrong passphrase)",
  );
});

test("no report holds a secret", async () => {
  const provider = new FakeProvider({ root: { passphrase: "correct horse" } });
  const report = await start(planOf([volumePlan("root")]), provider, [
    fakeSource("tpm", ["root"], offering("correct horse")),
  ]).report;
  expect(JSON.stringify(report)).not.toContain("correct horse");
});
