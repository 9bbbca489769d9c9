import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { JsonObject } from "../../../../src/jose/json.ts";
import { openToken } from "../../../../src/sources/clevis/decrypt.ts";
import { type Sealer, sealDirect, sssSealer, tpm2Sealer } from "../../../../src/sources/clevis/seal.ts";
import { parseToken } from "../../../../src/sources/clevis/token.ts";
import type { Tpm2Opener } from "../../../../src/sources/clevis/tools.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { toolsWith } from "./fixtures.ts";
import { errorOf, nullSealer, nullToken, secretOf, textOf } from "./make-tokens.ts";

const never = new AbortController().signal;

/** Shares that stand for a TPM each: opened, failing or hanging as the test tells them by number. */
class FakeTpm implements Tpm2Opener {
  readonly keys: SecretBytes[] = [];
  readonly cancelled: number[] = [];
  readonly given: SecretBytes[] = [];
  readonly #behaviour: (share: number) => "opens" | "fails" | "hangs" | "opens late";

  constructor(behaviour: (share: number) => "opens" | "fails" | "hangs" | "opens late") {
    this.#behaviour = behaviour;
  }

  get sealer(): Sealer {
    return tpm2Sealer(async (key) => {
      this.keys.push(key.clone());
      return { n: this.keys.length - 1 };
    });
  }

  async open(pin: JsonObject, signal: AbortSignal): Promise<SecretBytes> {
    const share = Number(pin["n"]);
    const key = this.keys[share];
    if (!key) throw new Error("no such share");
    const give = (): SecretBytes => {
      const copy = key.clone();
      this.given.push(copy);
      return copy;
    };
    const behaviour = this.#behaviour(share);
    if (behaviour === "opens") return give();
    if (behaviour === "fails")
      throw new LatchkeyError("tpm2/pcr-mismatch", `pcr ${share} differs`, { hint: "enroll again" });
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => {
        this.cancelled.push(share);
        if (behaviour === "opens late") resolve(give());
        else reject(new LatchkeyError("tpm2/interrupted", "interrupted"));
      });
    });
  }
}

const sealed = async (threshold: number, sealers: readonly Sealer[]): Promise<string> => {
  using secret = secretOf("hunter2");
  return await sssSealer(threshold, sealers)(secret, never);
};

describe("a token with shares", () => {
  test("opens with any t of its n shares, and with no fewer", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 7 }),
        fc.nat(),
        fc.array(fc.boolean(), { minLength: 7, maxLength: 7 }),
        async (n, t, works) => {
          const threshold = (t % n) + 1;
          const tpm = new FakeTpm((share) => (works[share] ? "opens" : "fails"));
          const token = await sealed(threshold, Array(n).fill(tpm.sealer));
          const opening = openToken(parseToken(token), toolsWith({ tpm2: tpm }), never);
          if (works.slice(0, n).filter(Boolean).length >= threshold) expect(textOf(await opening)).toBe("hunter2");
          else expect((await errorOf(() => opening)).code).toBe("token/threshold");
          expect(tpm.given.every((key) => key.isDisposed)).toBe(true);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("opens as soon as the threshold is reached: the rest is cancelled, and what comes late is wiped", async () => {
    const tpm = new FakeTpm((share) => (share === 1 ? "opens" : share === 0 ? "hangs" : "opens late"));
    const token = await sealed(1, [tpm.sealer, tpm.sealer, tpm.sealer]);
    expect(textOf(await openToken(parseToken(token), toolsWith({ tpm2: tpm }), never))).toBe("hunter2");
    expect(tpm.cancelled).toEqual([0, 2]);
    await Bun.sleep(0);
    expect(tpm.given).toHaveLength(2);
    expect(tpm.given.every((key) => key.isDisposed)).toBe(true);
  });

  test("gives up as soon as the threshold is out of reach, with the reason of each share and a hint", async () => {
    const tpm = new FakeTpm((share) => (share < 2 ? "fails" : "hangs"));
    const token = await sealed(2, [tpm.sealer, tpm.sealer, tpm.sealer]);
    const error = await errorOf(() => openToken(parseToken(token), toolsWith({ tpm2: tpm }), never));
    expect(error.message).toBe(
      "opened 0 of the 2 shares needed; share 1: pcr 0 differs; share 2: pcr 1 differs; share 3: not waited for any longer",
    );
    expect(error.hint).toBe("enroll again");
    expect(tpm.cancelled).toEqual([2]);
  });

  test("ends at once when it is no longer wanted, and cancels what it started", async () => {
    const asked = Promise.withResolvers<void>();
    const tpm = new FakeTpm(() => {
      asked.resolve();
      return "hangs";
    });
    const token = await sealed(1, [tpm.sealer]);
    const controller = new AbortController();
    const opening = openToken(parseToken(token), toolsWith({ tpm2: tpm }), controller.signal);
    await asked.promise;
    controller.abort();
    expect((await errorOf(() => opening)).code).toBe("token/threshold");
    expect(tpm.cancelled).toEqual([0]);
    const before = await errorOf(() => openToken(parseToken(token), toolsWith({ tpm2: tpm }), controller.signal));
    expect(before.code).toBe("token/threshold");
  });

  test("asks nobody when it has fewer shares than it needs", async () => {
    let asked = 0;
    const tpm = new FakeTpm(() => {
      asked += 1;
      return "opens";
    });
    const token = parseToken(await sealed(1, [tpm.sealer]));
    if (token.pin.kind !== "sss") throw new Error("no sss token");
    const starved = { ...token, pin: { ...token.pin, threshold: 2 } };
    const error = await errorOf(() => openToken(starved, toolsWith({ tpm2: tpm }), never));
    expect(error.message).toBe("the token holds 1 of the 2 shares it needs: nothing can open it");
    expect(asked).toBe(0);
  });

  test("inside another one works the same way", async () => {
    const tpm = new FakeTpm((share) => (share === 0 ? "opens" : "fails"));
    const token = await sealed(2, [tpm.sealer, sssSealer(1, [tpm.sealer, nullSealer]), nullSealer]);
    expect(textOf(await openToken(parseToken(token), toolsWith({ tpm2: tpm }), never))).toBe("hunter2");
  });

  test("never uses a share whose tag fails", async () => {
    const forged: Sealer = async (secret) => {
      const token = nullToken(secret);
      const last = token.at(-2) === "A" ? "B" : "A";
      return `${token.slice(0, -2)}${last}${token.at(-1)}`;
    };
    const token = await sealed(2, [forged, nullSealer, nullSealer]);
    expect(textOf(await openToken(parseToken(token), toolsWith(), never))).toBe("hunter2");
    const tooFew = await sealed(2, [forged, nullSealer]);
    const error = await errorOf(() => openToken(parseToken(tooFew), toolsWith(), never));
    expect(error.message).toBe(
      "opened 0 of the 2 shares needed; share 1: the token's tag does not hold: it was altered or damaged; share 2: not waited for any longer",
    );
  });

  test("whose shares do not belong together fails on its own tag", async () => {
    const stranger: Sealer = async () => {
      using other = SecretBytes.allocate(64);
      other.bytes.fill(7);
      return nullToken(other);
    };
    const token = await sealed(2, [stranger, nullSealer]);
    const error = await errorOf(() => openToken(parseToken(token), toolsWith(), never));
    expect(error.code).toBe("token/tag-mismatch");
  });

  test("with any numbers at all inside ends in our error or opens", async () => {
    const octets = fc.uint8Array({ minLength: 32, maxLength: 32 });
    const share = fc.uint8Array({ minLength: 62, maxLength: 66 });
    await fc.assert(
      fc.asyncProperty(
        octets,
        fc.array(share, { maxLength: 4 }),
        fc.integer({ min: 0, max: 5 }),
        async (p, shares, t) => {
          const jwe = shares.map((bytes) => {
            using secret = SecretBytes.take(Uint8Array.from(bytes));
            return nullToken(secret);
          });
          using key = SecretBytes.allocate(32);
          using secret = secretOf("x");
          const token = sealDirect("sss", { jwe, p: Buffer.from(p).toString("base64url"), t }, key, secret);
          const error = await errorOf(async () => textOf(await openToken(parseToken(token), toolsWith(), never)));
          expect(error.code).toMatch(/^token\//);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("tells that it is stuck only when the shares still at work cannot be enough", async () => {
    const tpm = new FakeTpm((share) => (share === 0 ? "fails" : "hangs"));
    const stalled: string[] = [];
    const controller = new AbortController();
    const token = await sealed(2, [tpm.sealer, tpm.sealer, tpm.sealer]);
    const opening = openToken(parseToken(token), toolsWith({ tpm2: tpm }), controller.signal, ({ message }) =>
      stalled.push(message),
    );
    await Bun.sleep(5);
    expect(stalled).toEqual([]);
    controller.abort();
    await errorOf(() => opening);
  });
});
