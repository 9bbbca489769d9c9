import { describe, expect, test } from "bun:test";
import { FakeProvider, fakeSource, offering, planOf, secretOf, start, volumePlan } from "./fakes.ts";

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
