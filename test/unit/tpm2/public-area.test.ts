import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { LatchkeyError } from "../../../src/system/errors.ts";
import { nameHash } from "../../../src/tpm2/algorithms.ts";
import { primaryTemplate } from "../../../src/tpm2/primary.ts";
import { isMadeFrom, parseSealedPublic, sealedTemplate } from "../../../src/tpm2/public-area.ts";
import { hex, sized } from "../../../src/tpm2/wire.ts";
import { pinHeader, readToken } from "./tokens.ts";

const sha256 = nameHash("sha256");
const partOf = (id: string): Uint8Array =>
  new Uint8Array(Buffer.from(String(pinHeader(readToken(id))["jwk_pub"]), "base64url"));

describe("a primary's template", () => {
  // facts/clevis.md, table of templates; the attributes come out of Part 2 section 8.3.
  test.each([
    ["ecc", "0023000b00030072000000060080004300100003001000000000"],
    ["ecc256", "0023000b00030072000000060080004300100003001000000000"],
    ["ecc256:null:aes128cfb", "0023000b00030072000000060080004300100003001000000000"],
    ["ecc384", "0023000b00030072000000060080004300100004001000000000"],
    ["ecc521", "0023000b00030072000000060080004300100005001000000000"],
    ["ecc:aes256cfb", "0023000b00030072000000060100004300100003001000000000"],
    ["rsa", "0001000b00030072000000060080004300100800000000000000"],
    ["rsa2048", "0001000b00030072000000060080004300100800000000000000"],
    ["rsa3072", "0001000b00030072000000060080004300100c00000000000000"],
  ])("for %s is the one tpm2-tools makes", (key, expected) => {
    expect(hex(primaryTemplate(key, sha256).area)).toBe(expected);
  });

  test("carries the name algorithm", () => {
    expect(hex(primaryTemplate("ecc", nameHash("sha1")).area.subarray(0, 4))).toBe("00230004");
  });

  test.each(["", "dsa", "ecc192", "rsa1024", "rsa20480", "ecc:camellia128cfb", "ecc:aes128", "ECC", "ecc\n", "eccrsa"])(
    "is not made for %j: that is left to an installed clevis",
    (key) => {
      expect(() => primaryTemplate(key, sha256)).toThrow("does not know the key type");
    },
  );
});

describe("the public area of a token", () => {
  test("with PCRs has a policy and no password", () => {
    const { authPolicy, userWithAuth } = parseSealedPublic(partOf("tpm2-pcr7-sha256-ecc"), sha256);
    expect(hex(authPolicy)).toBe("8b5682d81b29435d08d79278150611dc7e5923b2fefcce684a09577b40130a8b");
    expect(userWithAuth).toBe(false);
  });

  test("without PCRs has a password and no policy", () => {
    const { authPolicy, userWithAuth, name } = parseSealedPublic(partOf("tpm2-nopcr-ecc"), sha256);
    expect([authPolicy.length, userWithAuth, name.length]).toEqual([0, true, 34]);
  });

  test("is what latchkey would ask for, but for the unique field", () => {
    const withPolicy = parseSealedPublic(partOf("tpm2-pcr7-sha256-ecc"), sha256);
    expect(isMadeFrom(sealedTemplate(sha256, withPolicy.authPolicy), withPolicy.area)).toBe(true);
    const without = parseSealedPublic(partOf("tpm2-nopcr-ecc"), sha256);
    expect(isMadeFrom(sealedTemplate(sha256, undefined), without.area)).toBe(true);
    expect(isMadeFrom(sealedTemplate(sha256, undefined), withPolicy.area)).toBe(false);
  });

  test.each([
    ["another hash than the token says", "0008000400000492000000100020", "its hash is 0x4, the token says sha256"],
    ["a key", "0023000b", "an object of type 0x23"],
    ["a scheme", "0008000b000004d2000000050020", "scheme 0x5"],
    ["a policy that is no digest", "0008000b000004d20003010203001000", "its policy is not a digest"],
    ["a short unique field", "0008000b000004d200000010000101", "its unique field is not a digest"],
    ["nothing", "", "in the middle of a field"],
  ])("with %s is refused", (_, area, reason) => {
    expect(() => parseSealedPublic(sized(Buffer.from(area, "hex")), sha256)).toThrow(reason);
  });

  test("cut, lengthened or changed anywhere is refused as malformed, or understood", () => {
    const whole = partOf("tpm2-pcr7-sha256-ecc");
    fc.assert(
      fc.property(fc.nat({ max: whole.length - 1 }), fc.nat({ max: 255 }), fc.boolean(), (at, value, cut) => {
        const changed = cut ? whole.slice(0, at) : whole.with(at, value);
        try {
          parseSealedPublic(changed, sha256);
          expect(cut).toBe(false);
        } catch (error) {
          expect((error as LatchkeyError).code).toBe("token/malformed");
        }
      }),
    );
    expect(() => parseSealedPublic(new Uint8Array([...whole, 0]), sha256)).toThrow("1 bytes follow its end");
  });
});
