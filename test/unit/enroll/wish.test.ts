import { describe, expect, test } from "bun:test";
import {
  type SssWords,
  sssWish,
  type TangWords,
  type Tpm2Words,
  tangWish,
  tpm2Wish,
} from "../../../src/enroll/wish.ts";
import { errorOf } from "../sources/clevis/make-tokens.ts";

const thumbprint = "KBM9Pg3FtFCRjLqBFfP2ngCkh_SlwLRVRQp8n3XhiYA";

async function complaint(make: () => unknown): Promise<string> {
  const error = await errorOf(make);
  expect(error.code).toBe("usage/invalid");
  return error.message;
}

describe("words of the command line for the TPM", () => {
  test("that are not there mean PCR 7, the ECC key, and the bank the TPM keeps", () => {
    expect(tpm2Wish({})).toEqual({
      method: "tpm2",
      pcrs: [7],
      isDefault: true,
      bank: undefined,
      key: "ecc",
      policyDigest: undefined,
    });
  });

  test.each([
    ["1,7", [1, 7]],
    ["7, 0 ,4", [7, 0, 4]],
    ["none", []],
    ["NONE", []],
  ])("--pcrs %s", (pcrs, wanted) => {
    expect(tpm2Wish({ pcrs })).toMatchObject({ pcrs: wanted, isDefault: false });
  });

  const digest = "8b5682d81b29435d08d79278150611dc7e5923b2fefcce684a09577b40130a8b";
  test("name a bank and a policy digest", () => {
    const wish = tpm2Wish({ pcrBank: "sha384", key: "rsa", policyFromDigest: digest });
    expect(wish).toMatchObject({ key: "rsa", bank: { name: "sha384" } });
    expect(Buffer.from(wish.policyDigest ?? []).toString("hex")).toBe(digest);
  });

  test.each<[Tpm2Words, string]>([
    [{ pcrs: "" }, "--pcrs names no PCR"],
    [{ pcrs: "24" }, 'PCRs are numbers from 0 to 23 with commas between, not "24"'],
    [{ pcrs: "7;8" }, 'PCRs are numbers from 0 to 23 with commas between, not "7;8"'],
    [{ pcrBank: "md5" }, "--pcr-bank is one of sha1, sha256"],
    [{ key: "dsa" }, '--key is ecc or rsa, not "dsa"'],
    [{ policyFromDigest: "8b" }, "--policy-from-digest is a policy digest of sha256: 64 hexadecimal digits"],
    [{ policyFromDigest: `x${digest.slice(1)}` }, "--policy-from-digest is a policy digest of sha256"],
    [{ pcrs: "none", pcrBank: "sha1" }, "--pcr-bank and --policy-from-digest mean nothing without PCRs"],
    [{ pcrs: "none", policyFromDigest: digest }, "--pcr-bank and --policy-from-digest mean nothing without PCRs"],
  ])("%j is refused", async (words, message) => {
    expect(await complaint(() => tpm2Wish(words))).toStartWith(message);
  });
});

describe("words of the command line for Tang", () => {
  test("give an address as tokens have it, and what to trust", () => {
    expect(tangWish({ url: "server.lan:8080/" })).toEqual({
      method: "tang",
      url: "http://server.lan:8080",
      trust: { by: "question" },
    });
    expect(tangWish({ url: "https://a/b/", thumbprint }).trust).toEqual({ by: "thumbprint", thumbprint });
    expect(tangWish({ url: "a", advertisement: "adv.jws" }).trust).toEqual({ by: "file", path: "adv.jws" });
  });

  test.each<[TangWords, string]>([
    [{ url: "file:///etc/shadow" }, "the server has an address that is neither http nor https"],
    [{ url: "http://" }, "the server has an address that is none"],
    [{ url: "http://a", thumbprint: "short" }, "a thumbprint has 43 characters of base64url"],
    [{ url: "http://a", thumbprint, advertisement: "b" }, "--thumbprint and --advertisement exclude each other"],
  ])("%j is refused", async (words, message) => {
    expect(await complaint(() => tangWish(words))).toStartWith(message);
  });
});

describe("words of the command line for shares", () => {
  test("give each its own trust, and the TPM its options", () => {
    const wish = sssWish({ threshold: "2", tpm2: true, tang: ["http://a", `b#${thumbprint}`], pcrs: "1,7" });
    expect(wish.threshold).toBe(2);
    expect(wish.shares).toMatchObject([
      { method: "tang", url: "http://a", trust: { by: "question" } },
      { method: "tang", url: "http://b", trust: { by: "thumbprint", thumbprint } },
      { method: "tpm2", pcrs: [1, 7] },
    ]);
  });

  test.each<[SssWords, string]>([
    [{ threshold: "1", tang: [] }, "sss needs shares"],
    [{ threshold: "0", tpm2: true, tang: [] }, "--threshold is a number from 1 to the number of shares, 1"],
    [{ threshold: "3", tpm2: true, tang: ["a"] }, "--threshold is a number from 1 to the number of shares, 2"],
    [{ threshold: "two", tpm2: true, tang: ["a"] }, "--threshold is a number from 1"],
    [{ threshold: "1", tang: ["a"], pcrs: "7" }, "options of the TPM were given without --tpm2"],
    [{ threshold: "1", tang: ["a", "http://a/"] }, "http://a is named twice"],
    [
      { threshold: "1", tang: Array.from({ length: 65 }, (_, index) => `host${index}`) },
      "a token has at most 64 shares",
    ],
    [{ threshold: "1", tang: ["a#"] }, "a thumbprint has 43 characters"],
  ])("%j is refused", async (words, message) => {
    expect(await complaint(() => sssWish(words))).toStartWith(message);
  });
});
