import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { type Before, questionText, shown } from "../../../../src/sources/prompt/question-text.ts";
import type { ErrorCode } from "../../../../src/system/error-table.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";

const root = { name: "root", description: 'bcachefs "tank"' };
const plain = (name: string) => ({ name, description: `bcachefs "${name}"` });

const WRONG: ErrorCode = "bcachefs/wrong-passphrase";
const FAILED: ErrorCode = "internal/defect";

function tried(opened: readonly string[], errors: Record<string, [ErrorCode, string]>, wrongAnswers = 1): Before {
  const made = Object.entries(errors).map(([name, error]) => [name, new LatchkeyError(...error)] as const);
  return { kind: "tried", opened, errors: new Map(made), wrongAnswers };
}

const nothing: Before = { kind: "nothing" };

describe("the question", () => {
  test.each([
    [[root], nothing, 'Passphrase for root (bcachefs "tank")'],
    [[{ name: "root", description: "" }], nothing, "Passphrase for root"],
    [[root, plain("data")], nothing, "Passphrase for root and data"],
    [[root, plain("data"), plain("swap")], nothing, "Passphrase for root, data and swap"],
    [["root", "data", "a", "b"].map(plain), nothing, "Passphrase for root, data and 2 more"],
    [[root], { kind: "empty" }, 'Nothing was typed; passphrase for root (bcachefs "tank")'],
    [[root], { kind: "too-long" }, 'That was too long; passphrase for root (bcachefs "tank")'],
    [[root], { kind: "cancelled" }, 'Cancelled, asking again; passphrase for root (bcachefs "tank")'],
    [[root], tried([], { root: [WRONG, "no"] }), 'Wrong passphrase for root (bcachefs "tank"), try again (2nd try)'],
    [
      [root, plain("data")],
      tried([], { root: [WRONG, "no"], data: [WRONG, "no"] }, 2),
      "Wrong passphrase for root and data, try again (3rd try)",
    ],
    [[root], tried(["data"], { root: [WRONG, "no"] }, 0), 'That opened data; passphrase for root (bcachefs "tank")'],
    [[root], tried(["data", "swap"], {}, 0), 'That opened data and swap; passphrase for root (bcachefs "tank")'],
    [
      [root],
      tried([], { root: [FAILED, "root: /dev/sda2 went away"] }, 0),
      'Root: /dev/sda2 went away; passphrase for root (bcachefs "tank")',
    ],
    [
      [root],
      tried([], { root: [FAILED, "the kernel refused the key"] }, 0),
      'Root: the kernel refused the key; passphrase for root (bcachefs "tank")',
    ],
    [
      [root, plain("data")],
      tried([], { root: [WRONG, "no"], data: [FAILED, "data: out of memory"] }),
      "Wrong passphrase for root; data: out of memory; passphrase for root and data (2nd try)",
    ],
    [
      [root, plain("data")],
      tried(["swap"], { root: [FAILED, "root: broken"], data: [FAILED, "data: broken"] }, 0),
      "That opened swap; root: broken (and 1 more); passphrase for root and data",
    ],
    // A volume was found while the first answer was tried.
    [
      [root, plain("data")],
      tried([], { root: [WRONG, "no"] }),
      "Wrong passphrase for root; passphrase for root and data (2nd try)",
    ],
    // What was wrong for a volume that somebody else has opened since is of no interest.
    [[plain("data")], tried([], { root: [WRONG, "no"] }), 'Passphrase for data (bcachefs "data")'],
  ] as const)("%j after %j", (wanted, before, expected) => {
    expect(questionText(wanted, before)).toBe(expected);
  });

  test.each([
    [1, "2nd"],
    [2, "3rd"],
    [3, "4th"],
    [9, "10th"],
    [10, "11th"],
    [11, "12th"],
    [12, "13th"],
    [20, "21st"],
    [21, "22nd"],
    [110, "111th"],
  ])("after %d wrong answers it is the %s try", (wrongAnswers, words) => {
    expect(questionText([root], tried([], { root: [WRONG, "no"] }, wrongAnswers))).toEndWith(`(${words} try)`);
  });

  test("is one short line whatever stands on the disks", () => {
    const text = fc.string({ unit: "binary", maxLength: 300 });
    const volume = fc.record({ name: text, description: text });
    const property = fc.property(fc.array(volume, { minLength: 1, maxLength: 8 }), text, (wanted, message) => {
      const before = tried(["x".repeat(200)], { [wanted[0]?.name ?? ""]: [FAILED, message] });
      const question = questionText(wanted, before);
      expect(question).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
      expect(Bun.stringWidth(question)).toBeLessThan(500);
    });
    void fc.assert(property);
  });
});

describe("words from a disk label", () => {
  test.each([
    ["tank", 10, "tank"],
    ["a\nb\x1b[2Jc\rd", 20, "a b [2Jc d"],
    ["abc\u202edef\u2066", 20, "abcdef"],
    ["0123456789abc", 10, "0123456..."],
    ["日本語日本語日本語", 10, "日本語..."],
    ["", 10, ""],
  ])("%j in %d columns", (text, width, expected) => {
    expect(shown(text, width)).toBe(expected);
  });
});
