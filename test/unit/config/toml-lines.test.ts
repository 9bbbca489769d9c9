import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parse } from "smol-toml";
import { type KeyPath, locateKeys } from "../../../src/config/toml-lines.ts";
import { anyText, textOf } from "./texts.ts";

const document = `# a comment with [brackets] and "quotes
prompt_after = "2s" # and one behind a value

[volumes.root] # header
kind = "bcachefs"
device = [
  "UUID=1", # first
  '/dev/a#b',

  "c",
]
usb = { uuid = "4F2A-99C1", path = "a]}b", nested = { deep = 1 } }
clevis.token = "/etc/a.jwe"
"quoted key" = 1
'literal.key' = 2
"esc\\u0061ped" = 3
text = """
kind = "not a key"
[not.a.table]
""\\"""""
raw = '''
x = 1
it''s'''''
date = 1979-05-27T07:32:00Z
last = -1.5e3

[[list]]
a = 1
[[list]]
a = 2
[list.sub]
b = 3
[[list.inner]]
c = 4

[ pools . "data" ]
volumes = ["x"]
[volumes]
late.kind = 1\r
[policy]
a = 1`;

describe("the line of a key", () => {
  const lines = locateKeys(document);
  test.each<[KeyPath, number]>([
    [["prompt_after"], 2],
    [["volumes", "root"], 4],
    [["volumes", "root", "kind"], 5],
    [["volumes", "root", "device"], 6],
    [["volumes", "root", "device", 0], 7],
    [["volumes", "root", "device", 1], 8],
    [["volumes", "root", "device", 2], 10],
    [["volumes", "root", "usb", "path"], 12],
    [["volumes", "root", "usb", "nested", "deep"], 12],
    [["volumes", "root", "clevis", "token"], 13],
    [["volumes", "root", "quoted key"], 14],
    [["volumes", "root", "literal.key"], 15],
    [["volumes", "root", "escaped"], 16],
    [["volumes", "root", "text"], 17],
    [["volumes", "root", "raw"], 21],
    [["volumes", "root", "date"], 24],
    [["volumes", "root", "last"], 25],
    [["list", 0, "a"], 28],
    [["list", 1], 29],
    [["list", 1, "a"], 30],
    [["list", 1, "sub", "b"], 32],
    [["list", 1, "inner", 0, "c"], 34],
    [["pools", "data", "volumes"], 37],
    [["volumes", "late", "kind"], 39],
    [["policy", "a"], 41],
  ])("%j is in line %d", (path, line) => {
    expect(lines.lineOf(path)).toBe(line);
  });

  test("the document is TOML, so the lines are those of real keys", () => {
    expect(Object.keys(parse(document))).toEqual(["prompt_after", "volumes", "list", "pools", "policy"]);
  });

  test("a key that is missing is placed at the table around it", () => {
    expect(lines.lineOf(["volumes", "root", "missing"])).toBe(4);
    expect(lines.lineOf(["volumes", "root", "usb", "missing"])).toBe(12);
    expect(lines.lineOf(["volumes", "root", "device", 9])).toBe(6);
    expect(lines.lineOf(["missing"])).toBeUndefined();
    expect(lines.lineOf([])).toBeUndefined();
  });
});

describe("properties", () => {
  test("any text is walked to an end", () => {
    const pieces = textOf(
      "[",
      "]",
      "[[",
      "]]",
      "{",
      "}",
      "=",
      ".",
      ",",
      '"',
      '"""',
      "'",
      "'''",
      "\n",
      "#",
      "a",
      "\\",
      " ",
    );
    fc.assert(fc.property(fc.oneof(anyText, pieces), (text) => void locateKeys(text).lineOf(["a"])));
  });

  test("every key of a document that parses is found at the line it was written in", () => {
    const key = fc.string({ unit: fc.constantFrom("a", "b", "-", "é", '"', "\\", "."), minLength: 1, maxLength: 4 });
    const value = fc.constantFrom(
      '"x"',
      "[1, 2]",
      "{ a = [ { b = 1 } ] }",
      "'#'",
      '"""\n\n"""',
      "1979-05-27",
      "[ # c\n]",
      "'''\n'''''",
    );
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(key, value), { selector: ([name]) => name, maxLength: 8 }), (entries) => {
        let text = "";
        const expected = entries.map(([name, content], index) => {
          if (index % 3 === 2) text += "# a line between\n\n";
          const line = text.split("\n").length;
          text += `${JSON.stringify(name)} = ${content}\n`;
          return [name, line] as const;
        });
        expect(Object.keys(parse(text)).toSorted()).toEqual(entries.map(([name]) => name).toSorted());
        const lines = locateKeys(text);
        for (const [name, line] of expected) expect(lines.lineOf([name])).toBe(line);
      }),
    );
  });

  test("a megabyte of one string, of brackets or of dots takes no noticeable time", () => {
    const started = performance.now();
    const megabyte = 1024 * 1024;
    for (const text of [
      `a = """${"x".repeat(megabyte)}"""`,
      `a = """${'\\"'.repeat(megabyte / 2)}`,
      `a = ${"[".repeat(megabyte)}`,
      `${"a.".repeat(megabyte / 2)}b = 1`,
      "[a]\n".repeat(megabyte / 4),
      `[${"a.".repeat(megabyte / 8)}a]\n${"b=1\n".repeat(megabyte / 8)}`,
    ]) {
      locateKeys(text).lineOf(["a"]);
    }
    expect(performance.now() - started).toBeLessThan(5000);
  });
});
