import { describe, expect, test } from "bun:test";
import type { Plan } from "../../../src/config/plan.ts";
import type { Source } from "../../../src/sources/source.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import type { Report } from "../../../src/unlock/report.ts";
import { unlockVolumes } from "../../../src/unlock/unlock.ts";
import { FakeProvider, fakeSource, HandClock, planOf, secretOf, settle, volumePlan } from "./fakes.ts";

interface Started {
  readonly clock: HandClock;
  readonly lines: string[];
  readonly stop: AbortController;
  readonly report: Promise<Report>;
  isOver(): boolean;
}

function start(plan: Plan, provider: FakeProvider, sources: readonly Source[]): Started {
  const clock = new HandClock();
  const lines: string[] = [];
  const stop = new AbortController();
  let over = false;
  const report = unlockVolumes(
    {
      plan,
      providers: new Map([["bcachefs", provider]]),
      sources,
      clock,
      version: "0",
      build: "test",
      announce: (line) => lines.push(line),
    },
    stop.signal,
  ).finally(() => {
    over = true;
  });
  return { clock, lines, stop, report, isOver: () => over };
}

const unavailable = () => new LatchkeyError("unlock/no-credential", "the TPM is not there");
const offering = (text: string) => async (context: Parameters<Source["run"]>[0]) => {
  await context.offer(secretOf(text));
};
const forever = (context: Parameters<Source["run"]>[0]) =>
  new Promise<void>((resolve) => context.signal.addEventListener("abort", () => resolve()));

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

describe("one volume under two names", () => {
  const provider = () =>
    new FakeProvider({ root: { passphrase: "x", uuid: "same" }, system: { passphrase: "x", uuid: "same" } });
  const plan = planOf([volumePlan("root"), volumePlan("system")]);

  test("is opened once, by a source of either name", async () => {
    const fake = provider();
    const report = await start(plan, fake, [fakeSource("tpm", ["system"], offering("x"))]).report;
    expect(report.volumes.map(({ standing, opened_by }) => [standing, opened_by])).toEqual([
      ["opened", "tpm"],
      ["opened", "tpm"],
    ]);
    expect(fake.log.filter((step) => step.startsWith("open"))).toEqual(["open system"]);
  });

  test("is asked for once", async () => {
    const asked: string[][] = [];
    const question = fakeSource("prompt", ["root", "system"], async (context) => {
      asked.push((await context.wanted()).map(({ name }) => name));
      await context.offer(secretOf("x"));
    });
    const report = await start(plan, provider(), [question]).report;
    expect(asked).toEqual([["root"]]);
    expect(report.outcome).toBe("done");
  });
});

describe("pools", () => {
  const pool = { pools: [{ name: "data", volumes: ["a", "b"], origin: { file: "test" } }] };
  const twoVolumes = planOf([volumePlan("a"), volumePlan("b")], pool);

  test("every member accepts the credential before the first one is opened", async () => {
    const provider = new FakeProvider({ a: { passphrase: "same" }, b: { passphrase: "same" } });
    await start(twoVolumes, provider, [fakeSource("tpm", ["a", "b"], offering("same"))]).report;
    expect(provider.log).toEqual(["prove a", "prove b", "open a", "open b", "wipe a", "wipe b"]);
  });

  test("a member that refuses is named and nothing is opened", async () => {
    const provider = new FakeProvider({ a: { passphrase: "same" }, b: { passphrase: "other" } });
    const report = await start(twoVolumes, provider, [fakeSource("tpm", ["a", "b"], offering("same"))]).report;
    expect(provider.log).not.toContain("open a");
    expect(report.outcome).toBe("wrong-credential");
    expect(report.attempts.map((attempt) => attempt.volume)).toEqual(["b"]);
    expect(report.volumes[0]?.error).toMatchObject({ code: "pool/member-refused" });
    expect(report.volumes[0]?.error?.reason).toBe(
      "a: not opened because another member of pool data was not: b: wrong passphrase",
    );
  });

  test("what this run opened is closed again when a later step fails", async () => {
    const openError = new LatchkeyError("keyring/refused", "b: EDQUOT");
    const provider = new FakeProvider({ a: { passphrase: "same" }, b: { passphrase: "same", openError } });
    const report = await start(twoVolumes, provider, [fakeSource("tpm", ["a", "b"], offering("same"))]).report;
    expect(provider.log.slice(2)).toEqual(["open a", "close a", "wipe a", "wipe b"]);
    expect(report.volumes.map((volume) => volume.standing)).toEqual(["failed", "failed"]);
  });

  test("a missing member fails the whole pool, with its reason", async () => {
    const findError = new LatchkeyError("unlock/no-credential", "b: its device did not appear");
    const provider = new FakeProvider({ a: { passphrase: "same" }, b: { findError } });
    const report = await start(twoVolumes, provider, [fakeSource("tpm", ["a", "b"], forever)]).report;
    expect(report.volumes[0]?.error?.reason).toBe(
      "a: not opened because pool data is incomplete: b: its device did not appear",
    );
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
