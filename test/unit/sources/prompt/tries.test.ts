import { describe, expect, test } from "bun:test";
import { PromptSource } from "../../../../src/sources/prompt/prompt-source.ts";
import type { Progress } from "../../../../src/sources/source.ts";
import { asLatchkeyError, type LatchkeyError } from "../../../../src/system/errors.ts";
import { HandClock, settle } from "../../unlock/fakes.ts";
import { FakeAsker, FakeHeart } from "./fakes.ts";

/** A heart that also tells of volumes whose device has not come. */
class WaitingHeart extends FakeHeart {
  waiting: readonly string[] = [];

  override progress(): Progress {
    const volumes = this.waiting.map((name) => ({
      name,
      description: undefined,
      standing: "waiting" as const,
      reason: undefined,
    }));
    return { volumes, failures: [] };
  }
}

function start(heart: FakeHeart, limits: Readonly<Record<string, number>>) {
  const asker = new FakeAsker("console");
  const source = new PromptSource({
    volumes: ["root", "data"],
    ways: ["console"],
    openWay: () => asker,
    clock: new HandClock(),
    tries: new Map(Object.entries(limits)),
  });
  const running: Promise<LatchkeyError | undefined> = source.run(heart).then(() => undefined, asLatchkeyError);
  return { asker, running };
}

async function answer(asker: FakeAsker, ...answers: readonly string[]): Promise<void> {
  for (const text of answers) {
    await settle();
    asker.answer(text);
  }
  await settle();
}

describe("a limit on wrong answers", () => {
  test("ends the question when it is reached, and says so", async () => {
    const heart = new FakeHeart({ root: "right" });
    const { asker, running } = start(heart, { root: 2 });
    await answer(asker, "wrong", "wronger");
    expect(await running).toMatchObject({
      code: "prompt/tries-used-up",
      outcome: "wrong-credential",
      message: "root: 2 wrong answers were given, and crypttab allows no more (tries=2)",
    });
    expect(asker.asked).toHaveLength(2);
    expect(heart.offered).toHaveLength(2);
  });

  test("leaves the last try, and counts no answer that opens", async () => {
    const { asker, running } = start(new FakeHeart({ root: "right" }), { root: 2 });
    await answer(asker, "wrong", "right");
    expect(await running).toBeUndefined();
  });

  test("of one volume leaves the question for the others, who have none", async () => {
    const heart = new FakeHeart({ root: "right", data: "two" });
    const { asker, running } = start(heart, { root: 1 });
    await answer(asker, "x", "y", "two");
    expect(asker.asked).toEqual([
      "Passphrase for root and data",
      "Wrong passphrase for data, try again (2nd try)",
      "Wrong passphrase for data, try again (3rd try)",
    ]);
    heart.opensElsewhere("data");
    expect(await running).toMatchObject({
      code: "prompt/tries-used-up",
      message: expect.stringContaining("root: 1 wrong answer was"),
    });
  });

  test("does not end the question while another volume may still come", async () => {
    const heart = new WaitingHeart({ root: "right", data: "two" }, ["data"]);
    heart.waiting = ["data"];
    const { asker, running } = start(heart, { root: 1 });
    await answer(asker, "x");
    expect(asker.isUp).toBe(false);
    heart.waiting = [];
    heart.appears("data");
    await answer(asker, "two");
    expect(asker.asked.at(-1)).toContain("assphrase for data");
    expect(await running).toMatchObject({ code: "prompt/tries-used-up" });
  });

  test("is none where crypttab says nothing of it", async () => {
    const { asker, running } = start(new FakeHeart({ root: "right" }), {});
    await answer(asker, ...Array.from({ length: 20 }, () => "wrong"), "right");
    expect(await running).toBeUndefined();
  });

  test("ends with the run", async () => {
    const heart = new WaitingHeart({ root: "right", data: "two" }, ["data"]);
    heart.waiting = ["data"];
    const { asker, running } = start(heart, { root: 1 });
    await answer(asker, "x");
    heart.abort();
    expect(await running).toBeUndefined();
  });
});
