import { describe, expect, test } from "bun:test";
import type { Clock } from "../../../src/system/clock.ts";
import type { LatchkeyError } from "../../../src/system/errors.ts";
import { TpmChannel } from "../../../src/tpm2/channel.ts";
import { commands } from "../../../src/tpm2/commands.ts";
import { hex, u32 } from "../../../src/tpm2/wire.ts";
import { NEVER, response, ScriptedTransport } from "./fakes.ts";

/** Time passes only by sleeping. */
function leapingClock(): Clock & { slept: number[] } {
  let now = 0;
  const slept: number[] = [];
  return {
    slept,
    now: () => now,
    sleep: async (milliseconds, signal) => {
      if (milliseconds >= 30_000) return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
      slept.push(milliseconds);
      now += milliseconds;
      return undefined;
    },
  };
}

const signal = new AbortController().signal;
const flush = commands.flushContext(0x80000000);
const primary = commands.createPrimary(new Uint8Array(26));
const handleAnswer = (handle: number) =>
  Buffer.from(`8002${hex(u32(10 + 4 + 4))}00000000${hex(u32(handle))}00000000`, "hex");

async function errorOf(work: Promise<unknown>): Promise<LatchkeyError> {
  return await work.then(
    () => {
      throw new Error("it did not fail");
    },
    (error: LatchkeyError) => error,
  );
}

describe("a channel to the TPM", () => {
  test("sends commands byte for byte as facts/clevis.md has them", async () => {
    const transport = new ScriptedTransport(() => handleAnswer(0x80000001));
    const channel = new TpmChannel(transport);
    await channel.execute(primary, signal, "password");
    expect(transport.sent[0]?.length).toBe(0x43);
    expect(hex(transport.sent[0] ?? new Uint8Array()).slice(0, 58)).toBe(
      "8002000000430000013140000001000000094000000900000000000004",
    );
  });

  test("sends the same octets again when it is told to retry, each time after a longer pause", async () => {
    const clock = leapingClock();
    const transport = new ScriptedTransport((_, index) => response([0x922, 0x908, 0x90a, 0x922][index] ?? 0));
    await new TpmChannel(transport, undefined, clock).execute(flush, signal);
    expect(transport.sent.length).toBe(5);
    expect(new Set(transport.sent.map(hex)).size).toBe(1);
    expect(clock.slept).toEqual([10, 20, 40, 80]);
  });

  test("gives up on a TPM that always says retry, after the retry limit", async () => {
    const clock = leapingClock();
    const transport = new ScriptedTransport(() => response(0x922));
    const error = await errorOf(new TpmChannel(transport, undefined, clock).execute(flush, signal));
    expect([error.code, error.message]).toEqual([
      "tpm2/busy",
      "the TPM refused FlushContext: it asked to try again, too often (0x922)",
    ]);
    expect(clock.now()).toBeLessThanOrEqual(10_000);
    expect(transport.sent.length).toBeLessThan(40);
  });

  test("gives up on a TPM that never answers, names the command, and sends nothing more", async () => {
    const transport = new ScriptedTransport(() => NEVER);
    const channel = new TpmChannel(transport, { command: 30, keyGeneration: 60, retry: 10, close: 10 });
    const error = await errorOf(channel.execute(flush, signal));
    expect([error.code, error.outcome]).toEqual(["tpm2/timed-out", "unavailable"]);
    expect(error.message).toBe("scripted tpm: no answer to FlushContext within 0.03 s");
    expect((await errorOf(channel.execute(flush, signal))).code).toBe("tpm2/timed-out");
    expect(transport.sent.length).toBe(1);
  });

  test("has more patience while a key is made", async () => {
    const transport = new ScriptedTransport(() => Bun.sleep(80).then(() => handleAnswer(0x80000001)));
    const channel = new TpmChannel(transport, { command: 20, keyGeneration: 10_000, retry: 10, close: 10 });
    expect((await channel.execute(primary, signal, "password")).handle).toBe(0x80000001);
    expect((await errorOf(channel.execute(flush, signal))).code).toBe("tpm2/timed-out");
  });

  test("flushes what it was given, once, and nothing else", async () => {
    const transport = new ScriptedTransport((_, index) =>
      index < 2 ? handleAnswer(0x80000001 + index) : response(index === 2 ? 0x1cb : 0),
    );
    const channel = new TpmChannel(transport);
    await channel.execute(primary, signal, "password");
    await channel.execute(primary, signal, "password");
    await channel.flush(0x80000077);
    await channel.flush(0x80000001);
    await channel.flushAll();
    await channel.flushAll();
    expect(transport.sent.slice(2).map((command) => hex(command.subarray(6)))).toEqual([
      "0000016580000001",
      "0000016580000002",
    ]);
  });

  test.each([0x40000001, 0x81000001, 0, 0x01000000])("does not believe in the handle %p", async (handle) => {
    const channel = new TpmChannel(new ScriptedTransport(() => handleAnswer(handle)));
    expect((await errorOf(channel.execute(primary, signal, "password"))).code).toBe("tpm2/bad-answer");
  });

  test("does not believe in the same handle twice", async () => {
    const channel = new TpmChannel(new ScriptedTransport(() => handleAnswer(0x80000001)));
    await channel.execute(primary, signal, "password");
    expect((await errorOf(channel.execute(primary, signal, "password"))).code).toBe("tpm2/bad-answer");
  });

  test("sends nothing for work that is no longer wanted", async () => {
    const transport = new ScriptedTransport(() => response(0));
    const error = await errorOf(new TpmChannel(transport).execute(flush, AbortSignal.abort()));
    expect([error.code, transport.sent.length]).toEqual(["tpm2/interrupted", 0]);
  });

  test.each([
    ["empty", ""],
    ["shorter than a header", "8001000000"],
    ["longer than it states", "80010000000a00000000ff"],
    ["shorter than it states", "80010000000b00000000"],
    ["with the tag of sessions", "80020000000a00000000"],
    ["with no tag of the TPM", "12340000000a00000000"],
  ])("refuses an answer %s", async (_, answer) => {
    const transport = new ScriptedTransport(() => Buffer.from(answer, "hex"));
    expect((await errorOf(new TpmChannel(transport).execute(flush, signal))).code).toBe("tpm2/bad-answer");
  });

  test("knows a TPM 1.2 by its answer", async () => {
    const transport = new ScriptedTransport(() => Buffer.from("00c40000000a0000001e", "hex"));
    const error = await errorOf(new TpmChannel(transport).execute(flush, signal));
    expect([error.code, error.message]).toEqual(["tpm2/absent", "this machine has a TPM 1.2, not a TPM 2.0"]);
  });
});
