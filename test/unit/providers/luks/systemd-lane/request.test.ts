import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { judgePeer } from "../../../../../src/providers/luks/systemd-lane/request.ts";

const root = new Set([0]);
const judge = (name: string | undefined, uid = 0) => judgePeer({ pid: 7, uid, name }, "data", root);

describe("who connects to a volume's socket", () => {
  test.each<[string, string, "key" | "token" | "stranger"]>([
    ["systemd-cryptsetup that wants the passphrase", "18906942b2b5b685/cryptsetup/data", "key"],
    ["with a short random number", "7/cryptsetup/data", "key"],
    ["that wants a TPM's blob", "18906942b2b5b685/cryptsetup-tpm2/data", "token"],
    ["that wants a FIDO2 salt", "18906942b2b5b685/cryptsetup-fido2-salt/data", "token"],
    ["that wants a FIDO2 salt, before 257", "18906942b2b5b685/cryptsetup-fido2/data", "token"],
    ["that wants a PKCS#11 blob", "18906942b2b5b685/cryptsetup-pkcs11/data", "token"],
    ["that wants what nobody knows yet", "18906942b2b5b685/cryptsetup-moon/data", "stranger"],
    ["for another volume", "18906942b2b5b685/cryptsetup/root", "stranger"],
    ["for a volume whose name begins alike", "18906942b2b5b685/cryptsetup/data2", "stranger"],
    ["for a token of another volume", "18906942b2b5b685/cryptsetup-tpm2/root", "stranger"],
    ["another program of systemd", "18906942b2b5b685/credentials/data", "stranger"],
    ["with no random number", "/cryptsetup/data", "stranger"],
    ["with a random number too long", "18906942b2b5b6850/cryptsetup/data", "stranger"],
    ["with an empty name", "", "stranger"],
  ])("%s", (_, name, wants) => expect(judge(name).wants).toBe(wants));

  test("one who bound no name, or is not root, gets nothing, and is told apart", () => {
    expect(judge(undefined)).toEqual({
      wants: "stranger",
      why: "process 7 does not say that it is systemd-cryptsetup",
    });
    expect(judge("18906942b2b5b685/cryptsetup/data", 1000)).toEqual({
      wants: "stranger",
      why: "process 7 of user 1000 is not root",
    });
  });

  test("a right name with any character of its word or volume changed gets no key", () => {
    const [number, rest] = ["beef", "/cryptsetup/data"];
    const changed = fc
      .tuple(fc.nat({ max: rest.length - 1 }), fc.string({ maxLength: 2 }))
      .filter(([at, put]) => put !== rest[at])
      .map(([at, put]) => number + rest.slice(0, at) + put + rest.slice(at + 1));
    fc.assert(
      fc.property(changed, (name) => {
        expect(judge(name).wants).not.toBe("key");
      }),
    );
  });

  test("a volume may have any name that crypttab gives it", () => {
    const wants = (volume: string) =>
      judgePeer({ pid: 1, uid: 0, name: `beef/cryptsetup/${volume}` }, volume, root).wants;
    fc.assert(fc.property(fc.string({ minLength: 1 }), (volume) => wants(volume) === "key"));
  });
});
