import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { judgeReply, questionFile } from "../../../../src/system/ask-password/question-file.ts";

describe("the file that agents read", () => {
  test("has one line for each setting, whatever the words are", () => {
    void fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (text, id) => {
        const lines = questionFile({ text, id }, 42, "/run/sck").split("\n");
        expect(lines.map((line) => line.split("=")[0])).toEqual([
          "[Ask]",
          "PID",
          "Socket",
          "AcceptCached",
          "Echo",
          "NotAfter",
          "Message",
          "Icon",
          "Id",
          "",
        ]);
        expect(lines.some((line) => line.endsWith("\\"))).toBe(false);
      }),
    );
  });
});

describe("a reply", () => {
  test.each([
    ["+abc\0", { kind: "password", start: 1, end: 4 }],
    ["+abc", { kind: "password", start: 1, end: 4 }],
    ["+a\0b\0", { kind: "password", start: 1, end: 2 }],
    ["+", { kind: "password", start: 1, end: 1 }],
    ["-", { kind: "declined" }],
    ["-abc", { kind: "declined" }],
    ["", { kind: "invalid" }],
    ["abc", { kind: "invalid" }],
  ] as const)("%j", (text, expected) => {
    expect(judgeReply(new TextEncoder().encode(text))).toEqual(expected);
  });
});
