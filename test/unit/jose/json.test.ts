import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  arrayMember,
  member,
  objectMember,
  parseJsonObject,
  sortedJson,
  stringMember,
} from "../../../src/jose/json.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";

const parse = (text: string) => parseJsonObject(new TextEncoder().encode(text), "the header");

describe("JSON from outside", () => {
  test("knows members by their own names only", () => {
    const json = parse('{"__proto__":{"alg":"x"},"a":1}');
    expect(member(json, "__proto__")).toEqual({ alg: "x" });
    expect(member(json, "alg")).toBeUndefined();
    expect(member(parse("{}"), "__proto__")).toBeUndefined();
    expect(member(parse("{}"), "toString")).toBeUndefined();
    expect(() => objectMember(parse("{}"), "constructor", "the header")).toThrow("the header has no constructor");
  });

  test("says which member has the wrong type", () => {
    const json = parse('{"a":1,"b":null,"c":[]}');
    expect(() => stringMember(json, "a", "the header")).toThrow("the header: a is not a string");
    expect(() => objectMember(json, "b", "the header")).toThrow("the header: b is not an object");
    expect(() => objectMember(json, "c", "the header")).toThrow("the header: c is not an object");
    expect(() => arrayMember(json, "a", "the header")).toThrow("the header: a is not a list");
  });

  test.each([
    ["a list", "[]", "not an object"],
    ["null", "null", "not an object"],
    ["nothing", "", "not JSON"],
    ["half of it", '{"a":', "not JSON"],
    ["two of them", "{}{}", "not JSON"],
    ["a byte order mark", "\ufeff{}", "not JSON"],
    ["33 levels", `${'{"a":'.repeat(33)}1${"}".repeat(33)}`, "nested more than 32 levels"],
    ["200,000 levels", "[".repeat(200_000), "nested more than 32 levels"],
  ])("refuses %s", (_what, text, reason) => {
    expect(() => parse(text)).toThrow(LatchkeyError);
    expect(() => parse(text)).toThrow(reason);
  });

  test("does not count brackets inside strings, escaped quotes included", () => {
    const text = `${"[".repeat(100)}"\\`;
    expect(member(parse(JSON.stringify({ a: text })), "a")).toBe(text);
  });

  test("refuses what is not UTF-8, and never quotes the text", () => {
    expect(() => parseJsonObject(Uint8Array.of(0x7b, 0xff, 0x7d), "the header")).toThrow("the header is not UTF-8");
    expect(() => parse('{"k":hunter2}')).toThrow(/^the header is not JSON$/);
  });

  test("is written as clevis does: sorted, without spaces, lists in their order", () => {
    expect(sortedJson({ enc: 1, alg: { z: [3, 1, { b: 1, a: 2 }], a: "ü" } })).toBe(
      '{"alg":{"a":"ü","z":[3,1,{"a":2,"b":1}]},"enc":1}',
    );
  });

  test("parses or fails with our error, whatever the bytes", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((text) => new TextEncoder().encode(text)),
        ),
        (bytes) => {
          try {
            parseJsonObject(bytes, "it");
          } catch (thrown) {
            expect(thrown).toBeInstanceOf(LatchkeyError);
          }
        },
      ),
    );
  });
});
