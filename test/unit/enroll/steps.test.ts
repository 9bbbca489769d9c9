import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { nextSteps, resultNotes } from "../../../src/enroll/next-steps.ts";
import { pcrAdvice, secureBootState } from "../../../src/enroll/pcr-advice.ts";
import { describeStep, planEnrolment, type TargetFacts } from "../../../src/enroll/steps.ts";
import type { Target } from "../../../src/enroll/target.ts";
import { sssWish, tangWish, tpm2Wish, type Wish } from "../../../src/enroll/wish.ts";
import { parseToken } from "../../../src/sources/clevis/token.ts";
import { nullToken } from "../sources/clevis/make-tokens.ts";
import { Folder, secretOf } from "./scene.ts";

const bcachefs: TargetFacts = {
  kind: "bcachefs",
  name: "root",
  description: 'bcachefs "tank" (2 devices)',
  token: "/etc/latchkey/root.jwe",
  tokenExists: false,
};
const luks: TargetFacts = { kind: "luks2", name: "data", device: "/dev/sda3", slot: 2, id: 1 };
const thumbprint = "KBM9Pg3FtFCRjLqBFfP2ngCkh_SlwLRVRQp8n3XhiYA";

const planned = (wish: Wish, target: TargetFacts, force = false): readonly string[] =>
  planEnrolment(wish, target, { from: "the terminal", force }).map(describeStep);

describe("the steps", () => {
  test("for a token beside a bcachefs", () => {
    expect(planned(tangWish({ url: "http://a", thumbprint }), bcachefs)).toEqual([
      'take the passphrase of root from the terminal, and prove it on bcachefs "tank" (2 devices)',
      `fetch the keys of http://a, and compare with the thumbprint ${thumbprint}`,
      "seal it to the Tang server http://a",
      "open the new token again",
      'prove what came out of it on bcachefs "tank" (2 devices)',
      "write /etc/latchkey/root.jwe",
    ]);
  });

  test("for shares in a LUKS2 header", () => {
    const wish = sssWish({
      threshold: "2",
      tpm2: true,
      tang: ["http://a", "http://b"],
      pcrs: "7,1",
      pcrBank: "sha384",
    });
    expect(planned(wish, luks)).toEqual([
      "take the passphrase of data from the terminal, and prove it on /dev/sda3",
      "fetch the keys of http://a, and ask whether they are the right ones",
      "fetch the keys of http://b, and ask whether they are the right ones",
      "make a random passphrase for a new key slot",
      "seal it so that 2 of 3 open it: to the Tang server http://a; to the Tang server http://b; to this machine's TPM, PCRs 1 and 7, bank sha384",
      "open each share of the new token again, then the token",
      "add key slot 2 to /dev/sda3",
      "prove on /dev/sda3 that it opens key slot 2",
      "write the token into the header of /dev/sda3, as token 1 for key slot 2",
    ]);
  });

  test("for a recovery key", () => {
    expect(planned({ method: "recovery" }, luks)).toEqual([
      "take the passphrase of data from the terminal, and prove it on /dev/sda3",
      "make a recovery key, show it once, and have it typed back",
      "add key slot 2 to /dev/sda3",
      "prove on /dev/sda3 that it opens key slot 2",
      "mark key slot 2 of /dev/sda3 as the recovery key, by token 1",
    ]);
  });

  test("begin with a question where a token lies already, unless it is forced", () => {
    const target = { ...bcachefs, tokenExists: true };
    expect(planned(tpm2Wish({}), target)[0]).toBe("ask whether /etc/latchkey/root.jwe may give way to a new token");
    expect(planned(tpm2Wish({}), target, true)[0]).toStartWith("take the passphrase");
    const [last] = planned(tpm2Wish({}), target, true).slice(-1);
    expect(last).toBe("keep /etc/latchkey/root.jwe as /etc/latchkey/root.jwe.old, and write the new token");
  });

  // Whatever is planned: proved before made, opened before kept, and nothing is taken away.
  test.each([
    ["tpm2", tpm2Wish({})],
    ["tang", tangWish({ url: "http://a" })],
    ["sss", sssWish({ threshold: "1", tpm2: true, tang: ["http://a"] })],
    ["recovery", { method: "recovery" }],
  ] as const)("of %s keep their order", (_name, wish) => {
    for (const target of wish.method === "recovery" ? [luks] : [bcachefs, luks]) {
      const order = planEnrolment(wish, target, { from: "", force: true }).map((step) => step.do);
      const at = (name: (typeof order)[number]): number => order.indexOf(name);
      expect(at("prove-passphrase")).toBe(0);
      const keeps = order.at(-1);
      expect(["write-token", "import-token"]).toContain(keeps ?? "");
      const proof = target.kind === "luks2" ? "prove-slot" : "prove-secret";
      expect(at(proof)).toBe(order.length - 2);
      if (wish.method !== "recovery") expect(at("open-token")).toBe(at("seal") + 1);
    }
  });
});

describe("what is said about PCRs", () => {
  const said = (words: Parameters<typeof tpm2Wish>[0], surroundings = {}): string =>
    pcrAdvice(tpm2Wish(words), { secureBoot: true, latch: undefined, ...surroundings }).join("\n");

  test("gives the reason of the default, and only of the default", () => {
    expect(said({})).toStartWith("PCR 7 unless --pcrs says otherwise: it holds the state and the keys of Secure Boot");
    expect(said({ pcrs: "7" })).toBe("");
    expect(said({ pcrs: "7" }, { secureBoot: false })).toContain("Secure Boot is off");
    expect(said({ pcrs: "7" }, { secureBoot: undefined })).toBe("");
  });

  test("warns of what shuts a token", () => {
    expect(said({ pcrs: "1,7" })).toContain("PCR 1 holds the firmware's settings and boot order");
    expect(said({ pcrs: "0,2,7" })).toContain("PCRs 0 and 2: an update of the firmware");
    expect(said({ pcrs: "4,8,9" })).toContain("PCRs 4, 8 and 9: an update of boot loader");
    expect(said({ pcrs: "7,11" })).toContain("PCR 11 moves on within each start");
    expect(said({ pcrs: "7,11", policyFromDigest: "00".repeat(32) })).not.toContain("PCR 11");
    expect(said({ pcrs: "16" })).toContain("PCR 16: any program can set this back");
    expect(said({ pcrs: "none" })).toContain("any system that starts on this machine");
  });

  test("explains the latch, and that it has to be configured", () => {
    expect(said({ pcrs: "7,15" })).toContain("PCR 15 is taken as it is when the machine starts, zeros");
    expect(said({ pcrs: "7,15" })).toContain("set seal_pcr_after_unlock = 15 under [policy]");
    expect(said({ pcrs: "7,15" }, { latch: 15 })).not.toContain("set seal_pcr_after_unlock");
    expect(said({ pcrs: "15", policyFromDigest: "00".repeat(32) }, { latch: 15 })).not.toContain("zeros");
  });

  test("Secure Boot is read from the firmware's variable, where there is one", () => {
    using folder = new Folder();
    const file = folder.file("SecureBoot");
    expect(secureBootState(file)).toBeUndefined();
    for (const state of [0, 1]) {
      writeFileSync(file, Uint8Array.of(6, 0, 0, 0, state));
      expect(secureBootState(file)).toBe(state === 1);
    }
  });
});

describe("what is left to do", () => {
  const target = (facts: TargetFacts, boundSlots: readonly number[] = []): Target =>
    ({ kind: facts.kind, facts, boundSlots }) as unknown as Target;
  using secret = secretOf("s");
  const enrolled = { token: parseToken(nullToken(secret)), openedHere: true, old: undefined };
  const boot = { readsToken: true, usualToken: "/etc/latchkey/root.jwe", isNixos: false };

  test("is an image with the token in it, and a configuration that names it", () => {
    const install = "latchkey install, so that the token comes into the initrd";
    expect(nextSteps(target(bcachefs), enrolled, boot)).toEqual([install]);
    const unread = { ...boot, readsToken: false };
    expect(nextSteps(target(bcachefs), enrolled, unread)).toEqual([
      'write sources = ["clevis", "prompt"] under [volumes.root] in /etc/latchkey/latchkey.toml',
      install,
    ]);
    const elsewhere = { ...bcachefs, token: "/boot/root.jwe" };
    expect(nextSteps(target(elsewhere), enrolled, unread)[0]).toContain('and clevis = { token = "/boot/root.jwe" }');
  });

  test("is an image for LUKS, too: what opens the token, a network perhaps, has to be in it", () => {
    expect(nextSteps(target(luks), enrolled, boot)).toEqual([
      "latchkey install, so that what opens the token comes into the initrd",
    ]);
  });

  test("is on NixOS a line of the configuration, and a rebuild", () => {
    const [bcachefsLine, rebuild] = nextSteps(target(bcachefs), enrolled, { ...boot, isNixos: true });
    expect(bcachefsLine).toContain('boot.initrd.latchkey.volumes.root.clevis.token = "/etc/latchkey/root.jwe";');
    expect(rebuild).toStartWith("nixos-rebuild boot");
    const [luksLine] = nextSteps(target(luks), enrolled, { ...boot, isNixos: true });
    expect(luksLine).toContain("boot.initrd.latchkey.volumes.data.clevis.inHeader = true;");
  });

  test("goes from the recovery key to the others, and to the installation password last", () => {
    const steps = nextSteps(target(luks), { ...enrolled, token: undefined }, boot);
    expect(steps[0]).toContain("latchkey enroll tpm2 data");
    expect(steps[1]).toContain("remove the installation password");
  });

  test("names older tokens, which stay, and what could not be proved", () => {
    expect(resultNotes(target(luks), enrolled)).toEqual([]);
    expect(resultNotes(target(luks, [1]), enrolled)[0]).toContain("key slot 1 has an older Clevis token, which stays");
    expect(resultNotes(target(luks, [1, 3]), enrolled)[0]).toContain("key slots 1, 3 have");
    expect(resultNotes(target(bcachefs), { ...enrolled, openedHere: false })[0]).toContain("proved in all but that");
  });
});
