import { describe, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { sealTpm2Key } from "../../../src/sources/clevis/tpm2-seal.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { SecretBytes } from "../../../src/system/secret-bytes.ts";
import { nameHash } from "../../../src/tpm2/algorithms.ts";
import { defaultLimits } from "../../../src/tpm2/channel.ts";
import { lockoutState } from "../../../src/tpm2/lockout.ts";
import { extendPcr } from "../../../src/tpm2/pcrs.ts";
import { primaryTemplate } from "../../../src/tpm2/primary.ts";
import type { Tpm } from "../../../src/tpm2/tpm.ts";
import { concat, hex, sized, u16, u32 } from "../../../src/tpm2/wire.ts";
import { codeOf, loadTranscript, NEVER, repeatableRandom, ScriptedTransport, tpmOver } from "./fakes.ts";
import { openToken, readToken } from "./tokens.ts";

// Many runs, on a machine that may be busy.
setDefaultTimeout(60_000);

const signal = new AbortController().signal;
const limits = { ...defaultLimits, command: 200, keyGeneration: 200, close: 200 };

/** Each way latchkey uses a TPM; all read answers in places of their own. */
const works: Readonly<Record<string, (tpm: Tpm) => Promise<unknown>>> = {
  "opens a token": (tpm) => openToken(tpm, readToken("tpm2-nopcr-ecc")),
  "opens a token with PCRs": (tpm) => openToken(tpm, readToken("tpm2-pcr7-sha256-ecc")),
  "opens a token under RSA": (tpm) => openToken(tpm, readToken("tpm2-nopcr-rsa")),
  "seals a key": async (tpm) => {
    using key = SecretBytes.allocate(32);
    await sealTpm2Key(tpm, key, { pcrs: [1, 7] }, signal);
  },
  "extends a PCR": (tpm) => tpm.use(signal, (turn) => extendPcr(turn, 15, "test")),
  "asks for the lockout state": (tpm) => tpm.use(signal, (turn) => lockoutState(turn)),
};

/** What becomes of work with such a TPM: anything but an error of ours, or a result that cannot be, fails the test. */
async function endOf(
  answer: (command: Uint8Array, index: number) => Uint8Array | Promise<Uint8Array>,
  work: (tpm: Tpm) => Promise<unknown>,
  retry = 30,
): Promise<string> {
  const transport = new ScriptedTransport(answer);
  const outcome = await (async () => {
    await using tpm = tpmOver(transport, { limits: { ...limits, retry }, random: repeatableRandom() });
    return await work(tpm).then(
      (result) => (typeof result === "string" ? result : "done"),
      (error: unknown) => {
        if (!(error instanceof LatchkeyError)) throw error;
        if (error.code === "internal/defect") throw error;
        expect(error.message).not.toMatch(/\n|undefined|NaN/);
        return error.code;
      },
    );
  })();
  expect(transport.closed).toBe(1);
  expect(transport.sent.length).toBeLessThan(60);
  return outcome;
}

const successHeader = (tag: number, body: Uint8Array): Uint8Array =>
  concat(u16(tag), u32(10 + body.length), u32(0), body);

describe.each(Object.entries(works))("a hostile TPM, when latchkey %s,", (_, work) => {
  test("that answers random octets gets an error and no more", async () => {
    await fc.assert(
      fc.asyncProperty(fc.infiniteStream(fc.uint8Array({ maxLength: 200 })), async (octets) => {
        expect(await endOf(() => octets.next().value ?? new Uint8Array(), work)).toBe("tpm2/bad-answer");
      }),
      { numRuns: 30 },
    );
  });

  test("that answers success with random content gets an error and no more", async () => {
    const body = fc.infiniteStream(
      fc.tuple(fc.constantFrom(0x8001, 0x8002), fc.uint8Array({ maxLength: 120 }), fc.nat({ max: 300 })),
    );
    await fc.assert(
      fc.asyncProperty(body, async (bodies) => {
        await endOf((command) => {
          const [, octets = new Uint8Array(), size = 0] = bodies.next().value ?? [];
          const sessions = command[1] === 2;
          // Plausible beginnings get further: a handle, then a parameter size that may lie.
          const start = sessions ? concat(u32(0x80000000 + size), u32(octets.length + (size % 3))) : new Uint8Array();
          return successHeader(sessions ? 0x8002 : 0x8001, concat(start, octets));
        }, work);
      }),
      { numRuns: 60 },
    );
  });

  test("that answers any response code gets an error and no more", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 0xffff }), async (rc) => {
        const answer = concat(u16(0x8001), u32(10), u32(rc));
        expect(await endOf(() => answer, work)).toStartWith("t");
      }),
      { numRuns: 60 },
    );
  });

  test("that asks to retry for ever gets an error within the retry limit", async () => {
    const started = performance.now();
    expect(await endOf(() => concat(u16(0x8001), u32(10), u32(0x922)), work)).toBe("tpm2/busy");
    expect(performance.now() - started).toBeLessThan(5000);
  });

  test("that never answers gets an error within the command limit", async () => {
    const started = performance.now();
    expect(await endOf(() => NEVER, work)).toBe("tpm2/timed-out");
    expect(performance.now() - started).toBeLessThan(5000);
  });
});

describe("a TPM that answers CreatePrimary with a key of its choice", () => {
  /** Goes along with everything up to StartAuthSession, and has no idea of the salt. */
  const withKey = (area: Uint8Array) => (command: Uint8Array) => {
    const body = (handle: number, parameters: Uint8Array) => concat(u32(handle), u32(parameters.length), parameters);
    switch (codeOf(command)) {
      case 0x131:
        return successHeader(0x8002, body(0x80000000, sized(area)));
      case 0x157:
        return successHeader(0x8002, body(0x80000001, sized(new Uint8Array(34))));
      case 0x176:
        return successHeader(0x8001, concat(u32(0x02000000), sized(new Uint8Array(32))));
      default: {
        const answer = concat(
          sized(new Uint8Array(112)),
          sized(new Uint8Array(32)),
          Uint8Array.of(0x40),
          sized(new Uint8Array(32)),
        );
        return successHeader(0x8002, concat(u32(114), answer));
      }
    }
  };

  test.each([
    ["tpm2-nopcr-rsa", "rsa", 256],
    ["tpm2-nopcr-ecc", "ecc", 66],
  ] as const)("cannot make latchkey take an answer for %s", async (token, key, length) => {
    const { area } = primaryTemplate(key, nameHash("sha256"));
    const open = (tpm: Tpm) => openToken(tpm, readToken(token));
    const outcomes = new Set<string>();
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: length, maxLength: length }),
        fc.oneof(fc.constant(length), fc.nat({ max: 400 })),
        async (octets, size) => {
          const unique = key === "rsa" ? sized(octets.subarray(0, size)) : octets;
          const start = area.subarray(0, area.length - (key === "rsa" ? 2 : 4));
          const outcome = await endOf(withKey(concat(start, unique)), open);
          outcomes.add(outcome);
          expect(["tpm2/bad-answer", "tpm2/forged-answer"]).toContain(outcome);
        },
      ),
      { numRuns: 60 },
    );
    if (key === "rsa") expect([...outcomes].sort()).toEqual(["tpm2/bad-answer", "tpm2/forged-answer"]);
  });
});

describe("a TPM that is real but for one answer", () => {
  const transcript = loadTranscript("open-pcr-7");
  /** Milliseconds of retrying: a real TPM asks for it now and then, and this machine may be busy. */
  const PATIENT = 5_000;
  const steps = transcript.exchanges.length;

  /** Recorded answers by command, whatever else changed: the next one for the same command code. */
  function answers(change: (answer: Uint8Array, step: number) => Uint8Array | Promise<Uint8Array>) {
    const left = transcript.exchanges.map(
      ([command, answer], step) =>
        [codeOf(Buffer.from(command, "hex")), new Uint8Array(Buffer.from(answer, "hex")), step] as const,
    );
    return (command: Uint8Array): Uint8Array | Promise<Uint8Array> => {
      const at = left.findIndex(([code]) => code === codeOf(command));
      if (at < 0) return concat(u16(0x8001), u32(10), u32(0x101));
      const [, answer, step] = left.splice(at, 1)[0] ?? [0, new Uint8Array(), 0];
      return change(answer, step);
    };
  }

  const open = works["opens a token with PCRs"] ?? (() => Promise.reject());

  test("cut anywhere is refused", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: steps - 3 }), fc.double({ min: 0, max: 1, noNaN: true }), async (which, part) => {
        const cut = (answer: Uint8Array) => answer.subarray(0, Math.floor(part * (answer.length - 1)));
        const outcome = await endOf(
          answers((answer, step) => (step === which ? cut(answer) : answer)),
          open,
          PATIENT,
        );
        expect(outcome).toBe("tpm2/bad-answer");
      }),
      { numRuns: 100 },
    );
  });

  test("changed anywhere is refused, or it was something that does not matter", async () => {
    const outcomes = new Set<string>();
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: steps - 1 }),
        fc.nat({ max: 600 }),
        fc.integer({ min: 1, max: 255 }),
        async (which, at, flip) => {
          const change = (answer: Uint8Array) =>
            answer.with(at % answer.length, (answer[at % answer.length] ?? 0) ^ flip);
          const outcome = await endOf(
            answers((answer, step) => (step === which ? change(answer) : answer)),
            open,
            PATIENT,
          );
          outcomes.add(outcome);
          expect(outcome === "dev1-tpm2-pcr7-sha256-ecc" || outcome.startsWith("tpm2/")).toBe(true);
        },
      ),
      { numRuns: 200 },
    );
    expect([...outcomes]).toContain("tpm2/bad-answer");
  });

  test("with a key of its own in place of the TPM's is refused when it answers nothing right", async () => {
    const change = (answer: Uint8Array, step: number): Uint8Array => {
      if (step !== 1) return answer; // CreatePrimary
      const text = hex(answer);
      const at = 2 * (10 + 4 + 4 + 2 + 22 + 2);
      // The generator of P-256 for a point: on the curve, and the holder of its key is known to everyone.
      const x = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
      const y = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
      return Buffer.from(`${text.slice(0, at)}${x}0020${y}${text.slice(at + 132)}`, "hex");
    };
    expect(await endOf(answers(change), open, PATIENT)).toBe("tpm2/forged-answer");
  });
});
