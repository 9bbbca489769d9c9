import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { compareTyped, newRecoveryKey, RECOVERY_KEY_LENGTH, recoveryKeyOf } from "../../../src/enroll/recovery-key.ts";
import { SecretBytes } from "../../../src/system/secret-bytes.ts";

const PATTERN = /^[cbdefghijklnrtuv]{8}(-[cbdefghijklnrtuv]{8}){7}$/;
const textOf = (secret: SecretBytes): string => Buffer.from(secret.bytes).toString();
const secretOf = (text: string): SecretBytes => SecretBytes.take(new TextEncoder().encode(text));

function judged(shown: string, typed: string): string {
  using key = secretOf(shown);
  using answer = secretOf(typed);
  const result = compareTyped(key, answer);
  if (result.is === "wrong") return result.why;
  using written = result.key;
  return textOf(written);
}

describe("a recovery key", () => {
  test("has systemd's format, and never twice the same", () => {
    const seen = new Set<string>();
    for (let run = 0; run < 50; run += 1) {
      using key = newRecoveryKey();
      expect(key.length).toBe(RECOVERY_KEY_LENGTH);
      expect(textOf(key)).toMatch(PATTERN);
      seen.add(textOf(key));
    }
    expect(seen.size).toBe(50);
  });

  test("is the 256 bits in modhex: high half first, cbdefghijklnrtuv for 0 to 15", () => {
    using raw = SecretBytes.take(Uint8Array.from({ length: 32 }, (_, index) => (index % 16) * 0x11));
    using key = recoveryKeyOf(raw);
    expect(textOf(key)).toBe("ccbbddee-ffgghhii-jjkkllnn-rrttuuvv-ccbbddee-ffgghhii-jjkkllnn-rrttuuvv");
  });

  test("typed back is right in capitals, with spaces, without hyphens; then it is as it was written", () => {
    using key = newRecoveryKey();
    const shown = textOf(key);
    const typings = [shown, shown.toUpperCase(), shown.replaceAll("-", " "), shown.replaceAll("-", ""), ` ${shown}\t`];
    for (const typed of typings) expect(judged(shown, typed)).toBe(shown);
  });

  test("typed wrong is told by its groups or its length, never by its letters", () => {
    const shown = Array.from({ length: 8 }, () => "cbdefghi").join("-");
    const groups = shown.split("-");
    expect(judged(shown, groups.with(2, "cbdefghv").join("-"))).toBe("group 3 differs");
    expect(judged(shown, groups.with(0, "xxxxxxxx").with(7, "bbbbbbbb").join(""))).toBe("groups 1, 8 differ");
    expect(judged(shown, groups.slice(1).join("-"))).toBe("it has 64 letters, and 56 were typed");
    expect(judged(shown, "")).toBe("it has 64 letters, and 0 were typed");
  });

  test("nothing but itself is right", () => {
    using key = newRecoveryKey();
    const shown = textOf(key);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (typed) => {
        using answer = SecretBytes.take(typed);
        expect(compareTyped(key, answer).is).toBe("wrong");
      }),
    );
    fc.assert(
      fc.property(fc.nat({ max: 70 }), fc.constantFrom(..."cbdefghijklnrtuv"), (at, letter) => {
        const typed = shown.slice(0, at) + letter + shown.slice(at + 1);
        const isSame = typed === shown || shown[at] === "-";
        expect(judged(shown, typed) === shown).toBe(typed === shown);
        expect(isSame || judged(shown, typed).startsWith("group ")).toBe(true);
      }),
    );
  });
});
