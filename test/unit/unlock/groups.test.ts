import { describe, expect, test } from "bun:test";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { FakeProvider, fakeSource, forever, offering, planOf, secretOf, start, volumePlan } from "./fakes.ts";

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
