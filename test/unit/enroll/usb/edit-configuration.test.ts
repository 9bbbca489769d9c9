import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parse } from "smol-toml";
import {
  addStick,
  type KnownVolume,
  removeStick,
  type StickEntry,
} from "../../../../src/enroll/usb/edit-configuration.ts";
import { lineDiff } from "../../../../src/enroll/usb/line-diff.ts";
import { findTables } from "../../../../src/enroll/usb/toml-spans.ts";

const sha256 = "c0ffee00".repeat(8);
const stick: StickEntry = { uuid: "4F2A-99C1", path: "root.key", sha256 };
const line = `{ uuid = "4F2A-99C1", path = "root.key", sha256 = "${sha256}" }`;
const other = line.replace("4F2A", "0000");
const root: KnownVolume = {
  name: "root",
  kind: "luks",
  devices: [{ by: "tag", tag: "UUID", value: "6e8c1f2a-0b3d-4c5e-8f70-123456789abc" }],
  sources: ["clevis", "prompt"],
};
const head = '# mine\nprompt_after = "2s" # soon\n\n[volumes.root]\nkind = "luks"   # the disk\ndevice = "/dev/sda2"\n';
const rest = '\n# another\n[volumes.data]\nkind = "luks"\ndevice = "/dev/sdb1"\n';

describe("a first stick", () => {
  test.each([
    [
      "beside sources that are there",
      'sources = ["clevis", "prompt"] # both\n',
      `sources = ["clevis", "usb", "prompt"] # both\nusb = ${line}\n`,
    ],
    ["where nothing is said of sources", "", `sources = ["clevis", "usb", "prompt"]\nusb = ${line}\n`],
    ["where nobody is asked", 'sources = ["clevis"]\n', `sources = ["clevis", "usb"]\nusb = ${line}\n`],
    [
      "in a list of several lines",
      'sources = [\n  "clevis",\n  "prompt", # at last\n]\n',
      `sources = [\n  "clevis",\n  "usb", "prompt", # at last\n]\nusb = ${line}\n`,
    ],
  ])("%s", (_, before, after) => {
    expect(addStick(head + before + rest, root, stick)).toBe(head + after + rest);
  });

  test("for a volume that the file does not name", () => {
    expect(addStick(rest, root, stick)).toBe(
      `${rest}\n[volumes.root]\nkind = "luks"\ndevice = "UUID=6e8c1f2a-0b3d-4c5e-8f70-123456789abc"\nsources = ["clevis", "usb", "prompt"]\nusb = ${line}\n`,
    );
    expect(addStick("", root, stick)).toStartWith("[volumes.root]\n");
  });

  test("with a path and a format that need words", () => {
    const special = { ...stick, path: 'a "b".key', format: "hex", anyBus: true } as const;
    const edited = addStick(head, root, special) ?? "";
    expect(parse(edited)["volumes"]).toMatchObject({
      root: { usb: { path: 'a "b".key', format: "hex", any_bus: true } },
    });
  });
});

describe("one more stick", () => {
  const sources = 'sources = ["usb", "prompt"]\n';
  test.each([
    ["one", `usb = ${other} # blue\n`, `usb = [\n  ${other},\n  ${line},\n] # blue\n`],
    ["a list on one line", `usb = [${other}]\n`, `usb = [${other}, ${line}]\n`],
    ["a list of lines", `usb = [\n    ${other}, # blue\n]\n`, `usb = [\n    ${other}, # blue\n    ${line},\n]\n`],
    [
      "a list of lines without a comma at its end",
      `usb = [\n    ${other} # blue\n]\n`,
      `usb = [\n    ${other}, # blue\n    ${line},\n]\n`,
    ],
  ])("beside %s", (_, before, after) => {
    expect(addStick(head + sources + before + rest, root, stick)).toBe(head + sources + after + rest);
  });

  test("beside one in a table of its own, which becomes an item", () => {
    const table = (name: string, uuid: string) =>
      `\n${name}\nuuid = "${uuid}"\npath = "root.key"\nsha256 = "${sha256}"\n`;
    const before = head + sources + table("[volumes.root.usb]", "0000-99C1") + rest;
    const both = table("[[volumes.root.usb]]", "0000-99C1") + table("[[volumes.root.usb]]", "4F2A-99C1");
    expect(addStick(before, root, stick)).toBe(head + sources + both + rest);
    const third = { ...stick, uuid: "1111-1111" };
    expect(addStick(head + sources + both + rest, root, third)).toBe(
      head + sources + both + table("[[volumes.root.usb]]", "1111-1111") + rest,
    );
  });
});

describe("what cannot be edited safely is left to a person", () => {
  test.each([
    ["a volume in an inline table", 'volumes = { root = { kind = "luks", device = "/dev/sda2" } }\n'],
    ["a volume by dotted keys", '[volumes]\nroot.kind = "luks"\nroot.device = "/dev/sda2"\n'],
    ["a stick by dotted keys", `${head}sources = ["usb"]\nusb.uuid = "0000-0000"\n`],
    ["a string of several lines", `${head}device = """\n/dev/sda2"""\n`],
    ["a file that is no TOML", "[volumes.root\n"],
    ["a stick that is there already", `${head}sources = ["usb"]\nusb = 1\n`],
  ])("%s", (_, text) => {
    expect(addStick(text, root, stick)).toBeUndefined();
  });
});

describe("a stick is taken out again", () => {
  test.each([
    [
      "the only one",
      `sources = ["clevis", "usb", "prompt"]\nusb = ${line} # blue\n`,
      'sources = ["clevis", "prompt"]\n',
    ],
    ["the only source", `sources = ["usb"]\nusb = ${line}\n`, 'sources = ["prompt"]\n'],
    ["the first of two", `sources = ["usb"]\nusb = [${line}, ${other}]\n`, `sources = ["usb"]\nusb = [${other}]\n`],
    ["the last of two", `sources = ["usb"]\nusb = [${other}, ${line}]\n`, `sources = ["usb"]\nusb = [${other}]\n`],
    [
      "the last of a list of lines",
      `sources = ["usb"]\nusb = [\n  ${other},\n  ${line},\n]\n`,
      `sources = ["usb"]\nusb = [\n  ${other},\n]\n`,
    ],
    ["the only one of a list", `sources = ["usb", "prompt"]\nusb = [${line}]\n`, 'sources = ["prompt"]\n'],
  ])("%s", (_, before, after) => {
    expect(removeStick(head + before + rest, "root", stick)).toBe(head + after + rest);
  });

  test("one in a table of its own", () => {
    const table = `\n[[volumes.root.usb]]\nuuid = "4f2a-99c1"\npath = "root.key"\nsha256 = "${sha256}"\n`;
    const text = `${head}sources = ["usb", "prompt"]\n${table}${rest}`;
    expect(removeStick(text, "root", stick)).toBe(`${head}sources = ["prompt"]\n\n${rest}`);
  });

  test("one of several files on one stick", () => {
    const third = line.replace("root.key", "/keys/third.key");
    const text = `${head}sources = ["usb"]\nusb = [${line}, ${third}]\n`;
    const file = { ...stick, path: "keys/third.key" };
    expect(removeStick(text, "root", file)).toBe(`${head}sources = ["usb"]\nusb = [${line}]\n`);
  });

  test("one that is not there is not", () => {
    expect(removeStick(`${head}sources = ["usb"]\nusb = ${other}\n`, "root", stick)).toBeUndefined();
    expect(removeStick(rest, "root", stick)).toBeUndefined();
  });
});

test("whatever was added can be taken out again, and the file says what it said before", () => {
  const comments = fc.constantFrom("", " # a comment", "\n# a line");
  const sources = fc.constantFrom("", 'sources = ["prompt"]', 'sources = [\n  "clevis",\n]', "sources = ['prompt']");
  const usb = fc.constantFrom("", `usb = ${other}`, `usb = [${other}]`, `usb = [\n  ${other},\n]`);
  fc.assert(
    fc.property(sources, usb, comments, fc.constantFrom("", rest), (list, sticks, comment, after) => {
      const names = sticks === "" ? list : 'sources = ["usb", "prompt"]';
      const text = `${head}${names}${comment}\n${sticks}\n${after}`;
      const added = addStick(text, root, stick);
      expect(added).toBeDefined();
      const removed = removeStick(added ?? "", "root", stick) ?? "";
      const volumes = (document: string) => parse(document)["volumes"] as Record<string, Record<string, unknown>>;
      const [was, is] = [volumes(text)["root"], volumes(removed)["root"]];
      expect([is?.["usb"] ?? []].flat()).toEqual([was?.["usb"] ?? []].flat());
      for (const part of comment.trim() === "" ? [] : [comment.trim()]) expect(removed).toContain(part);
    }),
  );
});

test("places are those of the text", () => {
  const text = '\ufeff# c\na.b = [1, "x]" ] # d\n[ "t.u" . v ]\nk = { a = 1 }\n[[l]]\n';
  const tables = findTables(text) ?? [];
  expect(tables.map(({ path, isItem }) => [path, isItem])).toEqual([
    [[], false],
    [["t.u", "v"], false],
    [["l"], true],
  ]);
  const [pair] = tables[0]?.pairs ?? [];
  expect(pair && text.slice(pair.span.start, pair.span.end)).toBe('a.b = [1, "x]" ]');
  expect(pair?.items?.map(({ start, end }) => text.slice(start, end))).toEqual(["1", '"x]"']);
});

test("a difference is shown with the lines around it", () => {
  expect(lineDiff("a\nb\nc\nd\ne\n", "a\nb\nc\nX\ne\n")).toEqual(["  b", "  c", "- d", "+ X", "  e"]);
  expect(lineDiff("", "a\n")).toEqual(["+ a"]);
  expect(lineDiff("a\n", "a\n")).toEqual([]);
});
