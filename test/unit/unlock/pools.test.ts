import { describe, expect, test } from "bun:test";
import type { Plan } from "../../../src/config/plan.ts";
import type { PoolProgress } from "../../../src/sources/source.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import type { AfterOpening, OpenGroup } from "../../../src/unlock/after-opening.ts";
import { ProofRoom } from "../../../src/unlock/proof-room.ts";
import {
  FakeProvider,
  fakeSource,
  forever,
  offering,
  planOf,
  plenty,
  secretOf,
  settle,
  start,
  volumePlan,
} from "./fakes.ts";

const x = { passphrase: "x" };

function poolOf(names: readonly string[], overrides: Partial<Plan> = {}, alone: readonly string[] = []): Plan {
  return planOf(
    [...names, ...alone].map((name) => volumePlan(name)),
    { pools: [{ name: "data", volumes: names, origin: { file: "test" } }], ...overrides },
  );
}

const degraded = { policy: { requireEncrypted: true, allowDegraded: true } };
const key = (names: readonly string[]) => fakeSource("tpm", names, offering("x"));
const withEffect = (provider: FakeProvider): readonly string[] =>
  provider.log.filter((step) => /^(open|close) /.test(step));

describe("verify all, then open all", () => {
  test("every member accepts the credential before the first one is opened", async () => {
    const provider = new FakeProvider({ a: x, b: x });
    await start(poolOf(["a", "b"]), provider, [key(["a", "b"])]).report;
    expect(provider.log).toEqual(["prove a", "prove b", "open a", "open b", "wipe b", "wipe a"]);
  });

  test("they open in the order of the pool, whichever was proved first", async () => {
    const slow = Promise.withResolvers<void>();
    const provider = new FakeProvider({ a: { ...x, derives: slow.promise }, b: x });
    const run = start(poolOf(["a", "b"]), provider, [key(["a", "b"])]);
    await settle();
    expect(withEffect(provider)).toEqual([]);
    slow.resolve();
    await run.report;
    expect(withEffect(provider)).toEqual(["open a", "open b"]);
  });

  test("a member that refuses is named and nothing is opened", async () => {
    const provider = new FakeProvider({ a: x, b: { passphrase: "other" }, c: x });
    const report = await start(poolOf(["a", "b", "c"]), provider, [key(["a"])]).report;
    expect(withEffect(provider)).toEqual([]);
    expect(report.outcome).toBe("wrong-credential");
    expect(report.attempts.map((attempt) => attempt.volume)).toEqual(["b"]);
    expect(report.volumes.map(({ name, error }) => [name, error?.code, error?.reason])).toEqual([
      ["a", "pool/member-refused", "a: not opened because another member of pool data was not: b: wrong passphrase"],
      ["b", "unlock/no-source", "b: nothing is configured that could open it"],
      ["c", "unlock/no-source", "c: nothing is configured that could open it"],
    ]);
  });

  test("where memory is short, a mistyped passphrase costs one derivation and not four", async () => {
    const proofMemory = 2 ** 30;
    const members = { a: { ...x, proofMemory }, b: { ...x, proofMemory }, c: { ...x, proofMemory } };
    const provider = new FakeProvider(members);
    const source = fakeSource("tpm", ["a", "b", "c"], async (context) => {
      await context.offer(secretOf("wrong"));
      await context.offer(secretOf("x"));
    });
    const room = new ProofRoom(() => ({ memory: 2 ** 30, cores: 8 }));
    const report = await start(poolOf(["a", "b", "c"]), provider, [source], { room }).report;
    expect(provider.log.filter((step) => step.startsWith("prove"))).toEqual([
      "prove a",
      "prove a",
      "prove b",
      "prove c",
    ]);
    expect(report.outcome).toBe("done");
  });

  test("when one cannot even begin, what the others have proved by then or later is wiped", async () => {
    class BrokenRoom extends ProofRoom {
      #entered = 0;
      override async enter(...how: Parameters<ProofRoom["enter"]>) {
        this.#entered += 1;
        if (this.#entered === 1) return await super.enter(...how);
        await settle(); // the first proof runs by then
        throw new Error("no room");
      }
    }
    const slow = Promise.withResolvers<void>();
    const provider = new FakeProvider({ a: { ...x, derives: slow.promise }, b: x });
    const room = new BrokenRoom(() => plenty);
    const run = start(poolOf(["a", "b"]), provider, [key(["a", "b"])], { room });
    for (let turn = 0; turn < 3; turn++) await settle();
    slow.resolve();
    const report = await run.report;
    expect(provider.log).toEqual(["prove a", "wipe a"]);
    expect(report.volumes.map(({ error }) => error?.reason).join("\n")).toContain("no room");
  });

  test("members that are open already are neither tried nor closed", async () => {
    const openError = new LatchkeyError("keyring/refused", "c: EDQUOT");
    const provider = new FakeProvider({ a: { state: "open" }, b: x, c: { ...x, openError } });
    const report = await start(poolOf(["a", "b", "c"]), provider, [key(["a", "b", "c"])]).report;
    expect(provider.log).toEqual(["prove b", "prove c", "open b", "close b", "wipe c", "wipe b"]);
    expect(report.volumes.map((volume) => volume.standing)).toEqual(["already-open", "failed", "failed"]);
  });

  test("one volume under two names is proved and opened once", async () => {
    const same = { ...x, uuid: "u", devices: ["/dev/sda"] };
    const provider = new FakeProvider({ a: same, b: same });
    const report = await start(poolOf(["a", "b"]), provider, [key(["a"])]).report;
    expect(provider.log).toEqual(["prove a", "open a", "wipe a"]);
    expect(report.volumes.map((volume) => volume.standing)).toEqual(["opened", "opened"]);
  });

  test("a copy of a member is refused, with the whole pool", async () => {
    const provider = new FakeProvider({ a: { ...x, uuid: "u" }, b: { ...x, uuid: "u" }, c: x });
    const run = start(poolOf(["a", "b", "c"]), provider, [key(["a", "b", "c"])]);
    const report = await run.report;
    expect(provider.log).toEqual([]);
    expect(report.volumes.map(({ standing, error }) => [standing, error?.code])).toEqual([
      ["refused", "pool/duplicate-member"],
      ["refused", "pool/duplicate-member"],
      ["failed", "pool/incomplete"],
    ]);
    expect(run.lines[0]).toBe("pool data: a (/dev/a) and b (/dev/b) have one UUID, u: one is a copy of the other");
  });

  test("whoever waits is told how many members have accepted, and so are those who ask", async () => {
    const slow = Promise.withResolvers<void>();
    const provider = new FakeProvider({ a: x, b: x, c: { ...x, derives: slow.promise } });
    const seen: (readonly PoolProgress[] | undefined)[] = [];
    const question = fakeSource(
      "prompt",
      ["a", "b", "c"],
      async (context) => {
        await context.wanted();
        const offer = context.offer(secretOf("x"));
        await settle();
        seen.push(context.progress().pools);
        slow.resolve();
        await offer;
        seen.push(context.progress().pools);
      },
      { isQuestion: true },
    );
    const run = start(poolOf(["a", "b", "c"]), provider, [question]);
    await run.report;
    expect(run.lines.slice(0, 3)).toEqual([
      "pool data: 1 of 3 members accept the passphrase",
      "pool data: 2 of 3 members accept the passphrase",
      "pool data: 3 of 3 members accept the passphrase",
    ]);
    expect(seen).toEqual([[{ pool: "data", accepted: 2, of: 3 }], []]);
  });

  test("a volume on its own has nothing to count", async () => {
    const run = start(planOf([volumePlan("a")]), new FakeProvider({ a: x }), [key(["a"])]);
    await run.report;
    expect(run.lines).toEqual(['a: fake "a" opened by tpm']);
  });
});

describe("each member has a credential of its own, as in a LUKS2 header", () => {
  const own = (member: string, secret: string) =>
    fakeSource(
      `token of ${member}`,
      [member],
      async (context) => void (await context.offer(secretOf(secret), [member])),
      {
        opensAlone: true,
      },
    );
  const different = () =>
    new FakeProvider({ a: { passphrase: "one" }, b: { passphrase: "two" }, c: { passphrase: "three" } });

  test("the pool opens when each has accepted its own, which is tried on no other", async () => {
    const provider = different();
    const sources = [own("b", "two"), own("c", "three"), own("a", "one")];
    const run = start(poolOf(["a", "b", "c"]), provider, sources);
    const report = await run.report;
    expect(report.outcome).toBe("done");
    const proofs = provider.log.filter((step) => step.startsWith("prove "));
    expect(proofs.toSorted()).toEqual(["prove a", "prove b", "prove c"]);
    expect(provider.log.slice(3, 6)).toEqual(["open a", "open b", "open c"]);
    expect(provider.log.slice(6).toSorted()).toEqual(["wipe a", "wipe b", "wipe c"]);
    expect(run.lines.filter((line) => line.includes("members"))).toEqual(
      [1, 2, 3].map((count) => expect.stringContaining(`${count} of 3`)),
    );
  });

  test("one that is refused leaves the pool closed, and a passphrase for all still opens it", async () => {
    const provider = new FakeProvider({ a: x, b: x });
    const asked = fakeSource(
      "prompt",
      ["a", "b"],
      async (context) => {
        await context.wanted();
        await offering("x")(context);
      },
      { isQuestion: true },
    );
    const run = start(poolOf(["a", "b"]), provider, [own("a", "x"), own("b", "other"), asked]);
    const report = await run.report;
    expect(report.volumes.map(({ opened_by }) => opened_by)).toEqual(["prompt", "prompt"]);
    expect(provider.log.filter((step) => step === "prove a")).toHaveLength(2);
    // What a had accepted by then is wiped, too.
    expect(provider.log.filter((step) => step === "wipe a")).toHaveLength(2);
  });

  test("what was accepted is wiped when the others never come to it", async () => {
    const provider = different();
    const report = await start(poolOf(["a", "b", "c"]), provider, [own("a", "one"), own("b", "two")]).report;
    expect(report.outcome).not.toBe("done");
    expect(withEffect(provider)).toEqual([]);
    expect(provider.log.filter((step) => step.startsWith("wipe ")).toSorted()).toEqual(["wipe a", "wipe b"]);
  });

  test("a second token of the same member is not tried again", async () => {
    const provider = different();
    await start(poolOf(["a", "b"]), provider, [own("a", "one"), own("a", "one")]).report;
    expect(provider.log.filter((step) => step === "prove a")).toHaveLength(1);
  });
});

describe("a later step fails", () => {
  const openError = new LatchkeyError("keyring/refused", "c: EDQUOT");

  test("what this run opened is closed again, last first", async () => {
    const provider = new FakeProvider({ a: x, b: x, c: { ...x, openError } });
    const report = await start(poolOf(["a", "b", "c"]), provider, [key(["a", "b", "c"])]).report;
    expect(withEffect(provider)).toEqual(["open a", "open b", "close b", "close a"]);
    expect(report.volumes.map(({ standing, error }) => [standing, error?.code])).toEqual([
      ["failed", "pool/incomplete"],
      ["failed", "pool/incomplete"],
      ["failed", "keyring/refused"],
    ]);
  });

  test("what cannot be closed is told, and the others are closed all the same", async () => {
    const closeError = new LatchkeyError("keyring/refused", "it is in use");
    const provider = new FakeProvider({ a: x, b: { ...x, closeError }, c: { ...x, openError } });
    const run = start(poolOf(["a", "b", "c"]), provider, [key(["a", "b", "c"])]);
    const report = await run.report;
    expect(withEffect(provider)).toEqual(["open a", "open b", "close b", "close a"]);
    expect(report.volumes[1]).toMatchObject({
      standing: "failed",
      error: {
        code: "unlock/left-open",
        reason: "b was opened and could not be closed again: it is in use",
      },
    });
    expect(run.lines).toContain("b was opened and could not be closed again: it is in use");
  });

  test("and a second try, with what was left open, opens the rest and makes the pool whole", async () => {
    const closeError = new LatchkeyError("keyring/refused", "it is in use");
    let attempts = 0;
    const members = { a: { ...x, closeError }, b: x };
    const provider = new (class extends FakeProvider {
      override async find(...args: Parameters<FakeProvider["find"]>) {
        const found = await super.find(...args);
        if (found.name !== "b") return found;
        return {
          ...found,
          prove: async (...given: Parameters<typeof found.prove>) => {
            const proven = await found.prove(...given);
            attempts += 1;
            return attempts > 1 ? proven : { ...proven, open: () => Promise.reject(openError) };
          },
        };
      }
    })(members);
    const source = fakeSource("tpm", ["a", "b"], async (context) => {
      await context.offer(secretOf("x"));
      expect((await context.wanted()).map(({ name }) => name)).toEqual(["b"]);
      await context.offer(secretOf("x"));
    });
    const report = await start(poolOf(["a", "b"]), provider, [source]).report;
    expect(withEffect(provider)).toEqual(["open a", "close a", "open b"]);
    expect(report.volumes.map((volume) => volume.standing)).toEqual(["opened", "opened"]);
    expect(report.outcome).toBe("done");
  });

  test("an interruption between two openings closes what is open, however long that takes", async () => {
    const slow = Promise.withResolvers<void>();
    const provider = new FakeProvider({ a: { ...x, opens: slow.promise }, b: x });
    const run = start(poolOf(["a", "b"]), provider, [key(["a", "b"])]);
    await settle();
    expect(withEffect(provider)).toEqual(["open a"]);
    run.stop.abort();
    await run.clock.advance(60_000);
    expect(run.isOver()).toBe(false);
    slow.resolve();
    const report = await run.report;
    expect(withEffect(provider)).toEqual(["open a", "close a"]);
    expect(report.volumes.map(({ error }) => error?.code)).toEqual(["unlock/interrupted", "unlock/interrupted"]);
  });

  test("an interruption during the proofs opens nothing, also when they end late", async () => {
    const slow = Promise.withResolvers<void>();
    const provider = new FakeProvider({ a: { ...x, derives: slow.promise }, b: x });
    const run = start(poolOf(["a", "b"]), provider, [key(["a", "b"])]);
    await settle();
    run.stop.abort();
    await run.clock.advance(2_000);
    expect((await run.report).volumes[0]?.error?.code).toBe("unlock/interrupted");
    slow.resolve();
    await settle();
    expect(withEffect(provider)).toEqual([]);
    expect(provider.log.filter((step) => step.startsWith("wipe"))).toHaveLength(2);
  });

  test("an interruption after the last opening comes too late to undo it", async () => {
    const slow = Promise.withResolvers<void>();
    const provider = new FakeProvider({ a: x, b: { ...x, opens: slow.promise } });
    const run = start(poolOf(["a", "b"]), provider, [key(["a", "b"])]);
    await settle();
    run.stop.abort();
    slow.resolve();
    expect((await run.report).volumes.map((volume) => volume.standing)).toEqual(["opened", "opened"]);
    expect(withEffect(provider)).toEqual(["open a", "open b"]);
  });
});

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
