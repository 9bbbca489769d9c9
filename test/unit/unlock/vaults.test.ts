import { describe, expect, test } from "bun:test";
import type { SourcePlan, VolumePlan } from "../../../src/config/plan.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { isClosedAgain } from "../../../src/unlock/vaults.ts";
import { FakeProvider, fakeSource, offering, planOf, settle, start, volumePlan } from "./fakes.ts";

const vault = (more: { readonly close?: boolean } = {}): SourcePlan => ({
  kind: "vault",
  volume: "stick",
  path: "k",
  sha256: "",
  timeout: 10_000,
  ...more,
});

const needs = (name: string, close?: boolean): VolumePlan =>
  volumePlan(name, { sources: [vault(close === undefined ? {} : { close })] });

const luks = { allowDiscards: false, readOnly: false, openOptions: [], opener: "latchkey" } as const;

describe("a vault is closed again", () => {
  const named = volumePlan("stick", { kind: "luks", luks: { ...luks, isNamedBySystem: true } });
  test.each<[string, VolumePlan, readonly VolumePlan[], boolean, boolean]>([
    ["when it is on a stick", volumePlan("stick"), [needs("a")], true, true],
    ["not when it is on an inner disk, which may hold the root", volumePlan("stick"), [needs("a")], false, false],
    ["on an inner disk when the configuration says so", volumePlan("stick"), [needs("a", true)], false, true],
    ["not when the configuration says so", volumePlan("stick"), [needs("a", false)], true, false],
    [
      "not when one of several volumes says so",
      volumePlan("stick"),
      [needs("a", true), needs("b", false)],
      true,
      false,
    ],
    ["not when it is the root", volumePlan("stick", { isRoot: true }), [needs("a", true)], true, false],
    ["not when fstab wants it", volumePlan("stick", { isForInitrd: true }), [needs("a", true)], true, false],
    ["not when crypttab names it", named, [needs("a", true)], true, false],
  ])("%s", (_, stick, volumes, isOnStick, closes) => {
    expect(isClosedAgain(stick, [stick, ...volumes], isOnStick)).toBe(closes);
  });
});

describe("in a run, a vault on a stick", () => {
  const plan = planOf([needs("a"), needs("b"), volumePlan("stick")]);
  const isOnStick = (device: string): boolean => device === "/dev/stick";

  /** Gives a volume its key when the vault is open, and not before `when`. */
  const fromVault = (volume: string, key: string, when: Promise<void> = Promise.resolve()) =>
    fakeSource(`vault for ${volume}`, [volume], async (context) => {
      await new Promise<void>((resolve) => {
        const look = (): void => {
          if (context.progress().volumes.some(({ name, standing }) => name === "stick" && standing === "open"))
            resolve();
        };
        context.onChange(look);
        look();
      });
      await when;
      await offering(key)(context);
    });
  const opener = fakeSource("prompt", ["stick"], offering("typed"));
  const volumes = { a: { passphrase: "a" }, b: { passphrase: "b" }, stick: { passphrase: "typed" } };

  test("is closed once all of its volumes are open, and not before", async () => {
    const provider = new FakeProvider(volumes);
    const later = Promise.withResolvers<void>();
    const run = start(plan, provider, [opener, fromVault("a", "a"), fromVault("b", "b", later.promise)], { isOnStick });
    await settle();
    expect(provider.log).toContain("open a");
    expect(provider.log).not.toContain("close stick");
    later.resolve();
    const report = await run.report;
    expect(provider.log.filter((line) => /^(open|close)/.test(line))).toEqual([
      "open stick",
      "open a",
      "open b",
      "close stick",
    ]);
    expect(report.outcome).toBe("done");
    expect(report.events.map(({ volume, text }) => `${volume}: ${text}`)).toContain(
      "stick: closed again: nothing waits for a key of it",
    );
  });

  test("is closed while others are still waited for", async () => {
    const provider = new FakeProvider({ ...volumes, far: { appears: new Promise(() => undefined) } });
    const withFar = planOf([...plan.volumes, volumePlan("far")]);
    const run = start(withFar, provider, [opener, fromVault("a", "a"), fromVault("b", "b")], { isOnStick });
    await settle();
    expect(provider.log).toContain("close stick");
    expect(run.isOver()).toBe(false);
    run.stop.abort();
    await run.report;
    expect(provider.log.filter((line) => line === "close stick")).toHaveLength(1);
  });

  test("is closed when its key was of no use", async () => {
    const provider = new FakeProvider(volumes);
    const run = start(plan, provider, [opener, fromVault("a", "not a"), fromVault("b", "not b")], { isOnStick });
    expect((await run.report).outcome).not.toBe("done");
    expect(provider.log).toContain("close stick");
  });

  test("is closed when the run is interrupted", async () => {
    const provider = new FakeProvider(volumes);
    const never = new Promise<void>(() => undefined);
    const waiting = fakeSource("vault for a", ["a"], (context) =>
      Promise.race([never, new Promise<void>((resolve) => context.signal.addEventListener("abort", () => resolve()))]),
    );
    const run = start(plan, provider, [opener, waiting], { isOnStick });
    await settle();
    expect(provider.log).toContain("open stick");
    run.stop.abort();
    await run.report;
    expect(provider.log).toContain("close stick");
  });

  test("that somebody else opened stays open", async () => {
    const provider = new FakeProvider({ ...volumes, stick: { state: "open" } });
    const run = start(plan, provider, [fromVault("a", "a"), fromVault("b", "b")], { isOnStick });
    expect((await run.report).outcome).toBe("done");
    expect(provider.log.join()).not.toContain("close");
  });

  test("that cannot be closed is told of, and the run is good all the same", async () => {
    const closeError = new LatchkeyError("luks/tool-failed", "stick: cryptsetup could not close it: it is in use");
    const provider = new FakeProvider({ ...volumes, stick: { passphrase: "typed", closeError } });
    const run = start(plan, provider, [opener, fromVault("a", "a"), fromVault("b", "b")], { isOnStick });
    expect((await run.report).outcome).toBe("done");
    expect(run.lines).toContain("stick: stays open: cryptsetup could not close it: it is in use");
  });

  test("that is opened late, by the last other source there is, still gives its keys", async () => {
    const provider = new FakeProvider({ a: { passphrase: "a" }, stick: { passphrase: "typed" } });
    const reading = Promise.withResolvers<void>();
    const listening = fakeSource(
      "vault for a",
      ["a"],
      (context) =>
        new Promise((resolve) => {
          context.nothingYet(new LatchkeyError("vault/not-open", "a: vault stick is not open after 10 s"));
          const look = (): void => {
            const isOpen = context
              .progress()
              .volumes.some(({ name, standing }) => name === "stick" && standing === "open");
            if (isOpen) resolve(context.atWork(reading.promise.then(() => offering("a")(context))));
          };
          context.onChange(look);
        }),
      { listens: true },
    );
    const typing = Promise.withResolvers<void>();
    const question = fakeSource(
      "prompt",
      ["stick"],
      (context) => typing.promise.then(() => offering("typed")(context)),
      {
        isQuestion: true,
      },
    );
    const run = start(planOf([needs("a"), volumePlan("stick")]), provider, [listening, question], { isOnStick });
    await settle();
    typing.resolve();
    await settle();
    expect(run.isOver()).toBe(false);
    expect(provider.log).not.toContain("close stick");
    reading.resolve();
    expect((await run.report).outcome).toBe("done");
    expect(provider.log.filter((line) => /^(open|close)/.test(line))).toEqual(["open stick", "open a", "close stick"]);
  });
});
