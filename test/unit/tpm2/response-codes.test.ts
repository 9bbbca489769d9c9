import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { decodeCode, isRetry, TpmResponseError } from "../../../src/tpm2/response-codes.ts";

describe("a response code", () => {
  // facts/clevis.md section 2, where each was seen; number, command, error code, words.
  test.each([
    [0x99d, "Unseal", "tpm2/pcr-mismatch", "the PCRs differ from what the token was sealed to (session 1, 0x99d)"],
    [0x128, "Unseal", "tpm2/busy", "PCRs kept changing"],
    [0x12f, "Unseal", "tpm2/refused", "the object wants a policy, and a password was given"],
    [
      0x1df,
      "Load",
      "tpm2/integrity",
      "another TPM, before this one was cleared, or it is damaged (parameter 1, 0x1df)",
    ],
    [0x9a2, "CreatePrimary", "tpm2/owner-password", "the owner hierarchy has a password"],
    [0x9a2, "Unseal", "tpm2/refused", "a password is missing or wrong"],
    [0x921, "Unseal", "tpm2/lockout", "locked after too many wrong passwords"],
    [0x902, "CreatePrimary", "tpm2/no-room", "room for objects is taken"],
    [0x903, "StartAuthSession", "tpm2/no-room", "room for sessions is taken"],
    [0x905, "StartAuthSession", "tpm2/no-room", "room for sessions is taken"],
    [0x922, "Load", "tpm2/busy", "asked to try again"],
    [0x908, "Load", "tpm2/busy", "again and again"],
    [0x90a, "Load", "tpm2/busy", "self-test does not end"],
    [0x101, "Load", "tpm2/failure-mode", "failure mode"],
    [0x100, "Load", "tpm2/not-started", "nobody has started it"],
    [0x2c3, "CreatePrimary", "tpm2/unsupported", "hash algorithm or PCR bank (parameter 2, 0x2c3)"],
    [0x2e6, "CreatePrimary", "tpm2/unsupported", "this elliptic curve"],
    [0x2c4, "CreatePrimary", "tpm2/unsupported", "such as the key size"],
    [0x1c3, "PCR_Read", "tpm2/unsupported", "hash algorithm or PCR bank"],
    [0x120, "CreatePrimary", "tpm2/refused", "this command is disabled"],
    [0x185, "CreatePrimary", "tpm2/refused", "the owner hierarchy is disabled (handle 1, 0x185)"],
    [0x2d6, "StartAuthSession", "tpm2/unsupported", "this cipher"],
    [0x907, "PCR_Extend", "tpm2/refused", "locality"],
    [0x1d5, "Load", "tpm2/refused", "TPM_RC_SIZE (parameter 1, 0x1d5)"],
    [0x7f, "Load", "tpm2/refused", "for a reason without words (0x7f)"],
  ] as const)("%p at %s is %s", (rc, command, code, words) => {
    const error = new TpmResponseError(command, rc);
    expect(error.code).toBe(code);
    expect(error.message).toStartWith(`the TPM refused ${command}: `);
    expect(error.message).toContain(words);
    expect(error.rc).toBe(rc);
  });

  test("from the kernel's resource manager means what it means from the TPM", () => {
    expect(new TpmResponseError("Load", 0x000b0902).code).toBe("tpm2/no-room");
  });

  test("says what it is about", () => {
    expect([0x99d, 0x1df, 0x18b, 0xbdf, 0x922, 0x09f].map((rc) => decodeCode(rc).about)).toEqual([
      "session 1",
      "parameter 1",
      "handle 1",
      "parameter 11",
      undefined,
      undefined,
    ]);
  });

  test("asks for a retry in three forms and no other", () => {
    expect([0x922, 0x908, 0x90a, 0x921, 0x128, 0].map(isRetry)).toEqual([true, true, true, false, false, false]);
  });

  test("has words for people, whichever it is", () => {
    fc.assert(
      fc.property(fc.nat({ max: 0xffffffff }), fc.constantFrom("Load", "CreatePrimary", "Unseal"), (rc, command) => {
        const { message } = new TpmResponseError(command, rc);
        expect(message).toMatch(/^the TPM refused \w+: .+ \(.*0x[0-9a-f]+\)$/);
      }),
    );
  });
});
