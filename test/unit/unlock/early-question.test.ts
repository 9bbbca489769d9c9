import { describe, expect, test } from "bun:test";
import type { Progress, SourceContext } from "../../../src/sources/source.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { FakeProvider, fakeSource, forever, offering, planOf, settle, start, volumePlan } from "./fakes.ts";

const early = { isQuestion: true, runsFromStart: true };

describe("a question that is there from the start", () => {
  test("runs at once and hears when it is time to ask", async () => {
    const heard: [string, number][] = [];
    const provider = new FakeProvider({ root: { passphrase: "typed" } });
    const remote = fakeSource(
      "remote",
      ["root"],
      async (context) => {
        await settle(); // until `run` is there
        heard.push(["runs", run.clock.now()]);
        await context.questionTime;
        heard.push(["asks", run.clock.now()]);
        await offering("typed")(context);
      },
      early,
    );
    const run = start(planOf([volumePlan("root")]), provider, [remote, fakeSource("tang", ["root"], forever)]);
    await run.clock.advance(2000);
    expect((await run.report).volumes[0]?.opened_by).toBe("remote");
    expect(heard).toEqual([
      ["runs", 0],
      ["asks", 2000],
    ]);
  });

  test("does not keep the automatic sources from being all there is to wait for", async () => {
    const asked: string[] = [];
    const provider = new FakeProvider({ root: { passphrase: "typed" } });
    const failing = fakeSource("tpm", ["root"], () =>
      Promise.reject(new LatchkeyError("unlock/no-credential", "no TPM")),
    );
    const question = fakeSource(
      "prompt",
      ["root"],
      (context) => {
        asked.push("prompt");
        return offering("typed")(context);
      },
      { isQuestion: true },
    );
    const run = start(planOf([volumePlan("root")]), provider, [
      fakeSource("remote", ["root"], forever, early),
      failing,
      question,
    ]);
    expect((await run.report).volumes[0]?.opened_by).toBe("prompt");
    expect(asked).toEqual(["prompt"]);
    expect(run.clock.now()).toBe(0);
  });

  test("that cannot run leaves the boot to the others, and its reason in the report", async () => {
    const provider = new FakeProvider({ root: { passphrase: "typed" } });
    const broken = fakeSource(
      "remote",
      ["root"],
      () => Promise.reject(new LatchkeyError("system/socket", "no socket")),
      early,
    );
    const asks = async (context: SourceContext): Promise<void> => {
      await context.wanted();
      await offering("typed")(context);
    };
    const question = fakeSource("prompt", ["root"], asks, { isQuestion: true });
    const report = await start(planOf([volumePlan("root")]), provider, [broken, question]).report;
    expect(report.outcome).toBe("done");
    expect(report.attempts[0]).toMatchObject({ source: "remote", error: { code: "system/socket" } });
  });

  test("sees all volumes as they stand, and what was tried by others", async () => {
    const seen: Progress[] = [];
    const appears = Promise.withResolvers<void>();
    const provider = new FakeProvider({
      root: { passphrase: "right" },
      open: { state: "open" },
      plain: { state: "unencrypted" },
      late: { passphrase: "right", appears: appears.promise },
    });
    const names = ["root", "open", "plain", "late"];
    const remote = fakeSource(
      "remote",
      ["root", "late"],
      async (context) => {
        await context.questionTime;
        await settle();
        seen.push(context.progress());
        appears.resolve();
        await offering("right")(context);
        await offering("right")(context);
      },
      early,
    );
    const wrong = fakeSource("usb", ["root"], offering("wrong"));
    const run = start(planOf(names.map((name) => volumePlan(name))), provider, [remote, wrong]);
    await run.clock.advance(3000);
    expect(seen[0]?.volumes).toEqual([
      { name: "root", description: 'fake "root"', standing: "closed", reason: undefined },
      { name: "open", description: 'fake "open"', standing: "open", reason: undefined },
      {
        name: "plain",
        description: 'fake "plain"',
        standing: "failed",
        reason: 'plain: fake "plain" is not encrypted: refused',
      },
      { name: "late", description: undefined, standing: "waiting", reason: undefined },
    ]);
    expect(seen[0]?.failures).toEqual([{ at: 0, source: "usb", volume: "root", reason: "root: wrong passphrase" }]);
    run.stop.abort();
    await run.report;
  });

  describe("once nobody else asks any more", () => {
    const failing = (code: "prompt/cancelled" | "prompt/no-console") => async (): Promise<void> => {
      throw new LatchkeyError(code, "the question has ended");
    };
    const prompt = (code: "prompt/cancelled" | "prompt/no-console") =>
      fakeSource("prompt", ["root"], failing(code), { isQuestion: true });
    const withDesertion = (volumes: readonly string[], deserted?: (isDeclined: boolean) => Promise<void>) =>
      fakeSource("remote", volumes, forever, { ...early, ...(deserted ? { deserted } : {}) });

    test("it is not waited for when nobody is there: the system's own way in follows", async () => {
      const heard: boolean[] = [];
      const remote = withDesertion(["root"], async (isDeclined) => void heard.push(isDeclined));
      const provider = new FakeProvider({ root: { passphrase: "x" } });
      const report = await start(planOf([volumePlan("root")]), provider, [remote, prompt("prompt/cancelled")]).report;
      expect(report.outcome).not.toBe("done");
      expect(heard).toEqual([true]);
    });

    test("it is told apart whether a person declined or could not be asked", async () => {
      const heard: boolean[] = [];
      const remote = withDesertion(["root"], async (isDeclined) => void heard.push(isDeclined));
      const provider = new FakeProvider({ root: { passphrase: "x" } });
      await start(planOf([volumePlan("root")]), provider, [remote, prompt("prompt/no-console")]).report;
      expect(heard).toEqual([false]);
    });

    test("it is waited for while somebody is there, and while it alone serves a volume", async () => {
      const leaves = Promise.withResolvers<void>();
      const provider = new FakeProvider({ root: { passphrase: "x" }, data: { passphrase: "x" } });
      const both = planOf([volumePlan("root"), volumePlan("data")]);
      const visited = start(planOf([volumePlan("root")]), provider, [
        withDesertion(["root"], () => leaves.promise),
        prompt("prompt/cancelled"),
      ]);
      const alone = start(both, provider, [
        withDesertion(["root", "data"], () => Promise.resolve()),
        prompt("prompt/cancelled"),
      ]);
      await visited.clock.advance(3_600_000);
      await alone.clock.advance(3_600_000);
      expect([visited.isOver(), alone.isOver()]).toEqual([false, false]);
      leaves.resolve();
      await visited.report;
      alone.stop.abort();
      await alone.report;
    });
  });
});
