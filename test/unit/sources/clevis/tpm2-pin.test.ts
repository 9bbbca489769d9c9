import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { JsonObject } from "../../../../src/jose/json.ts";
import { tpm2Needs } from "../../../../src/sources/clevis/tpm2-open.ts";
import { parsePcrIds, parseTpm2Pin } from "../../../../src/sources/clevis/tpm2-pin.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { pinHeader, readToken, tokenCases } from "../../tpm2/tokens.ts";

const good = pinHeader(readToken("tpm2-pcr7-sha256-ecc"));

function codeOf(work: () => unknown): string {
  try {
    work();
    return "no error";
  } catch (error) {
    if (!(error instanceof LatchkeyError)) throw error;
    return error.code;
  }
}

describe("the header of a tpm2 token", () => {
  test("is understood without a TPM: what it needs", () => {
    expect(tpm2Needs(good)).toEqual({ key: "ecc", hash: "sha256", pcrs: { bank: "sha256", pcrs: [7] } });
    expect(tpm2Needs(pinHeader(readToken("tpm2-nopcr-rsa")))).toEqual({ key: "rsa", hash: "sha256", pcrs: undefined });
    expect(tpm2Needs(pinHeader(readToken("tpm2-pcr-array-unsorted"))).pcrs?.pcrs).toEqual([0, 2, 4, 7]);
    expect(tpm2Needs(pinHeader(readToken("tpm2-pcr-ids-json-array"))).pcrs?.pcrs).toEqual([7]);
  });

  const broken = tokenCases.filter(({ error }) => error === "malformed" || error === "unsupported-alg");
  test.each(broken.filter(({ id }) => id !== "tpm2-unsealed-not-jwk").map(({ id, error }) => [id, error] as const))(
    "%s is %s before any TPM is asked",
    (id, error) => {
      const code = codeOf(() => parseTpm2Pin(pinHeader(readToken(id))));
      expect(code).toBe(error === "malformed" ? "token/malformed" : "token/unsupported");
    },
  );

  test.each([
    ["no hash", { hash: undefined }, "token/malformed"],
    ["a hash that is a number", { hash: 256 }, "token/malformed"],
    ["a hash that latchkey cannot compute", { hash: "sm3_256" }, "token/unsupported"],
    ["a hash that the object does not have", { hash: "sha1" }, "token/malformed"],
    ["a very long key", { key: "e".repeat(100_000) }, "token/malformed"],
    ["a very long jwk_priv", { jwk_priv: "A".repeat(1_000_000) }, "token/malformed"],
    ["an empty jwk_priv", { jwk_priv: "AAA" }, "token/malformed"],
    ["padding in jwk_pub", { jwk_pub: "AAAA====" }, "token/malformed"],
    ["an unknown bank", { pcr_bank: "md5" }, "token/unsupported"],
    ["no bank", { pcr_bank: undefined }, "token/malformed"],
    ["no PCRs, though the object has a policy", { pcr_ids: "" }, "token/malformed"],
    ["an empty list of PCRs, though the object has a policy", { pcr_ids: [] }, "token/malformed"],
    ["PCRs that are an object", { pcr_ids: {} }, "token/malformed"],
    ["too many PCRs", { pcr_ids: Array.from({ length: 1000 }, () => 7) }, "token/malformed"],
  ])("with %s is refused", (_, change, code) => {
    expect(codeOf(() => parseTpm2Pin({ ...good, ...change }))).toBe(code);
  });

  test("with PCRs, though the object has no policy, is refused: somebody added them", () => {
    const without = pinHeader(readToken("tpm2-nopcr-ecc"));
    expect(codeOf(() => parseTpm2Pin({ ...without, pcr_ids: "7", pcr_bank: "sha256" }))).toBe("token/malformed");
  });

  test("members of Object.prototype are no members of it", () => {
    const inherited = Object.create(good) as JsonObject;
    expect(codeOf(() => parseTpm2Pin(inherited))).toBe("token/malformed");
  });

  test("whatever is in it, ends in its pin or in an error of the token", () => {
    const value = fc.oneof(fc.anything({ maxDepth: 2 }), fc.string(), fc.base64String(), fc.constantFrom("ecc", "7"));
    const change = fc.dictionary(fc.constantFrom("hash", "key", "jwk_pub", "jwk_priv", "pcr_bank", "pcr_ids"), value);
    fc.assert(
      fc.property(change, (changed) => {
        const code = codeOf(() => parseTpm2Pin({ ...good, ...changed }));
        expect(["no error", "token/malformed", "token/unsupported"]).toContain(code);
      }),
      { numRuns: 500 },
    );
  });
});

describe("PCR numbers", () => {
  const one = (value: unknown) => ({ value });
  const understood: readonly { readonly value: unknown; readonly expected: readonly number[] }[] = [
    { value: "7", expected: [7] },
    { value: "7,0,4,2", expected: [7, 0, 4, 2] },
    { value: " 1, 7 ", expected: [1, 7] },
    { value: "", expected: [] },
    { value: [7], expected: [7] },
    { value: ["7", "0", " 4", "2"], expected: [7, 0, 4, 2] },
    { value: [], expected: [] },
    { value: "all", expected: Array.from({ length: 24 }, (_, pcr) => pcr) },
  ];
  test.each(understood)("%j are understood", ({ value, expected }) => {
    expect([...parsePcrIds(value, "token/malformed")]).toEqual([...expected]);
  });

  test.each([
    ...["24", "-1", "7,", ",7", "7,abc", "0x7", "1e1", "7;8"].map(one),
    ...[7, null, {}, undefined, [24], [-1], [1.5], [null], [[7]], [""]].map(one),
  ])("%j are refused, with what was wrong", ({ value }) => {
    expect(() => parsePcrIds(value, "usage/invalid")).toThrow("PCRs are numbers from 0 to 23");
    expect(codeOf(() => parsePcrIds(value, "usage/invalid"))).toBe("usage/invalid");
  });
});
