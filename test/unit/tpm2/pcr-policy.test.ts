import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { LatchkeyError } from "../../../src/system/errors.ts";
import { hashByName, nameHash } from "../../../src/tpm2/algorithms.ts";
import {
  bankName,
  decodeSelections,
  encodeSelection,
  PCR_COUNT,
  pcrSelection,
  pcrWords,
} from "../../../src/tpm2/pcr-selection.ts";
import { pcrPolicyDigest } from "../../../src/tpm2/policy.ts";
import { hex, WireReader } from "../../../src/tpm2/wire.ts";
import { pinHeader, readToken } from "./tokens.ts";

const sha256 = nameHash("sha256");
const select = (...pcrs: number[]) => pcrSelection(sha256, pcrs, "token/malformed");

describe("a PCR selection", () => {
  test.each([
    [[7], "00000001000b03800000"],
    [[1, 7], "00000001000b03820000"],
    [[7, 0, 4, 2], "00000001000b03950000"],
    [[17, 23], "00000001000b03000082"],
    [[7, 7], "00000001000b03800000"],
  ])("%p is the bitmap the TPM wants", (pcrs, expected) => {
    expect(hex(encodeSelection(select(...pcrs)))).toBe(expected);
  });

  test("is in ascending order, each PCR once", () => {
    expect(select(7, 0, 4, 0).pcrs).toEqual([0, 4, 7]);
  });

  test.each([[24], [-1], [1.5], [Number.NaN]])("has no PCR %p", (pcr) => {
    expect(() => select(pcr)).toThrow("they are 0 to 23");
  });

  test("survives the way to the TPM and back", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat({ max: PCR_COUNT - 1 })), (pcrs) => {
        const reader = new WireReader(encodeSelection(select(...pcrs)), "a selection", "tpm2/bad-answer");
        expect(decodeSelections(reader)).toEqual([{ bankId: 0x000b, pcrs: select(...pcrs).pcrs }]);
        reader.end();
      }),
    );
  });

  test("from a hostile TPM allocates nothing before it is checked", () => {
    const many = new WireReader(new Uint8Array(8).fill(0xff), "a selection", "tpm2/bad-answer");
    expect(() => decodeSelections(many)).toThrow("it lists 4294967295 PCR banks");
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        try {
          decodeSelections(new WireReader(bytes, "a selection", "tpm2/bad-answer"));
        } catch (error) {
          expect((error as LatchkeyError).code).toBe("tpm2/bad-answer");
        }
      }),
    );
  });

  test("has words", () => {
    expect([[7], [1, 7], [0, 2, 7]].map(pcrWords)).toEqual(["PCR 7", "PCRs 1 and 7", "PCRs 0, 2 and 7"]);
    expect([0x000b, 0x0099].map(bankName)).toEqual(["sha256", "0x0099"]);
  });
});

describe("a policy digest", () => {
  test("for PCR 7 at zero is the known one", () => {
    const digest = pcrPolicyDigest(sha256, select(7), [new Uint8Array(32)]);
    expect(hex(digest)).toBe("8b5682d81b29435d08d79278150611dc7e5923b2fefcce684a09577b40130a8b"); // facts/clevis.md
  });

  test.each([
    ["tpm2-pcr7-sha256-ecc", "sha256", "sha256", [7]],
    ["tpm2-pcr7-sha1-ecc", "sha256", "sha1", [7]],
    ["tpm2-pcr7-sha384-ecc", "sha256", "sha384", [7]],
    ["tpm2-pcr1-7-sha256-ecc", "sha256", "sha256", [1, 7]],
    ["tpm2-hash-sha384-pcr7", "sha384", "sha256", [7]],
  ])("of %s, computed from zeros, is the one clevis sealed to", (id, name, bankNamed, pcrs) => {
    const bank = hashByName(bankNamed, "the bank");
    const values = pcrs.map(() => new Uint8Array(bank.size));
    const digest = pcrPolicyDigest(nameHash(name), pcrSelection(bank, pcrs, "token/malformed"), values);
    const area = Buffer.from(String(pinHeader(readToken(id))["jwk_pub"]), "base64url");
    // TPM2B length, type, nameAlg, attributes, then the policy with its length.
    expect(hex(area.subarray(12, 12 + digest.length))).toBe(hex(digest));
  });
});
