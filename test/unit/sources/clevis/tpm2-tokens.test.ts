import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { pcrFacts, tpm2Opener } from "../../../../src/sources/clevis/tpm2-open.ts";
import type { LatchkeyError } from "../../../../src/system/errors.ts";
import { hashByName } from "../../../../src/tpm2/algorithms.ts";
import { extend, neverAborted, type Swtpm, skipReason, startSwtpm, swtpmMissing } from "../../tpm2/swtpm.ts";
import { openToken, pinHeader, readToken, tokenCase, tokenCases } from "../../tpm2/tokens.ts";

// A software TPM takes seconds for an RSA key, and the machine may be busy.
setDefaultTimeout(60_000);

/** The fixtures' error classes (fixtures/clevis/README.md) in our codes. */
const classes: Readonly<Record<string, RegExp>> = {
  malformed: /^token\/malformed$/,
  "unsupported-alg": /^token\/unsupported$/,
  "tpm-integrity": /^tpm2\/integrity$/,
  "tpm-pcr-mismatch": /^tpm2\/pcr-mismatch$/,
  tpm: /^tpm2\//,
};

const signal = neverAborted();

describe.skipIf(swtpmMissing !== undefined)(
  `clevis tokens of pin tpm2, with the TPM they were sealed by${skipReason}`,
  () => {
    let swtpm: Swtpm;
    beforeAll(async () => {
      swtpm = await startSwtpm();
    });
    afterAll(async () => {
      await swtpm[Symbol.asyncDispose]();
    });

    const plain = tokenCases.filter(({ extend: extension }) => extension === undefined);
    test.each(plain.filter(({ expect: end }) => end === "ok").map(({ id }) => id))("%s opens", async (id) => {
      {
        await using tpm = swtpm.tpm();
        expect(await openToken(tpm, readToken(id))).toBe(tokenCase(id).plaintext ?? "?");
      }
      expect(await swtpm.leftInside()).toEqual([]);
    });

    test.each(plain.filter(({ expect: end }) => end === "error").map(({ id, error }) => [id, error] as const))(
      "%s ends as %s",
      async (id, error) => {
        {
          await using tpm = swtpm.tpm();
          const thrown = await openToken(tpm, readToken(id)).catch((reason: LatchkeyError) => reason);
          expect((thrown as LatchkeyError).code).toMatch(classes[error ?? ""] ?? /never/);
        }
        expect(await swtpm.leftInside()).toEqual([]);
      },
    );

    test("each case of the manifest is one of these", () => {
      expect(tokenCases.length - plain.length).toBe(1);
      expect(plain.every(({ expect: end, error }) => end === "ok" || classes[error ?? ""] !== undefined)).toBe(true);
    });

    test("all of them at once, on one connection, end as they do alone", async () => {
      await using tpm = swtpm.tpm();
      const ends = await Promise.all(
        plain.map(({ id }) => openToken(tpm, readToken(id)).catch(({ code }: LatchkeyError) => code)),
      );
      for (const [index, { plaintext, error }] of plain.entries()) {
        expect(ends[index] ?? "").toMatch(
          error === undefined ? new RegExp(`^${plaintext}$`) : (classes[error] ?? /never/),
        );
      }
    });

    test("a mismatch names the PCRs and gives advice", async () => {
      await using tpm = swtpm.tpm();
      const one = await openToken(tpm, readToken("tpm2-pcr7-never")).catch((reason: LatchkeyError) => reason);
      expect((one as LatchkeyError).message).toBe("PCR 7 differs from what the token was sealed to (bank sha256)");
      expect((one as LatchkeyError).hint).toContain("latchkey enroll tpm2");
      expect((one as LatchkeyError).outcome).toBe("refused");
    });

    test("tpm2-pcr8-extended opens after its extension and not before", async () => {
      await using own = await startSwtpm();
      await using tpm = own.tpm();
      const { extend: extension, plaintext } = tokenCase("tpm2-pcr8-extended");
      const token = readToken("tpm2-pcr8-extended");
      const before = await openToken(tpm, token).catch(({ code }: LatchkeyError) => code);
      expect(before).toBe("tpm2/pcr-mismatch");
      expect(await pcrFacts(tpm, pinHeader(token), signal)).toEqual({
        bank: "sha256",
        pcrs: [{ pcr: 8, value: "00".repeat(32) }],
        matches: false,
      });
      const bank = hashByName(extension?.bank ?? "", "the bank");
      await extend(tpm, extension?.pcr ?? -1, bank.id, Buffer.from(extension?.digest ?? "", "hex"));
      expect(await openToken(tpm, token)).toBe(plaintext ?? "?");
      expect((await pcrFacts(tpm, pinHeader(token), signal))?.matches).toBe(true);
    });

    test("when one of several PCRs changes, all that are bound are named", async () => {
      await using own = await startSwtpm();
      await using tpm = own.tpm();
      await extend(tpm, 1, 0x000b, new Uint8Array(32));
      const error = await openToken(tpm, readToken("tpm2-pcr1-7-sha256-ecc")).catch((reason: LatchkeyError) => reason);
      expect((error as LatchkeyError).message).toBe(
        "one or more of PCRs 1 and 7 differ from what the token was sealed to (bank sha256)",
      );
    });

    test("a token without PCRs has no PCR facts", async () => {
      await using tpm = swtpm.tpm();
      expect(await pcrFacts(tpm, pinHeader(readToken("tpm2-nopcr-ecc")), signal)).toBeUndefined();
    });

    test("a broken token does not wait for a TPM", async () => {
      await using tpm = swtpm.tpm({ open: () => Promise.reject(new Error("it was opened")) });
      const opening = tpm2Opener(tpm).open(pinHeader(readToken("tpm2-pub-empty")), signal);
      expect(await opening.catch(({ code }: LatchkeyError) => code)).toBe("token/malformed" as never);
    });
  },
);
