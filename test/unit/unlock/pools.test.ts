import { describe, expect, test } from "bun:test";
import type { PoolProgress } from "../../../src/sources/source.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { ProofRoom } from "../../../src/unlock/proof-room.ts";
import { FakeProvider, fakeSource, offering, planOf, plenty, secretOf, settle, start, volumePlan } from "./fakes.ts";
import { key, poolOf, withEffect, x } from "./pool-scene.ts";

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
