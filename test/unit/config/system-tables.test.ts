import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseCrypttab } from "../../../src/config/crypttab.ts";
import { optionsIgnoredBy } from "../../../src/config/crypttab-options.ts";
import { parseFstab, splitOptions } from "../../../src/config/fstab.ts";
import { decodeOctalEscapes } from "../../../src/config/octal-escapes.ts";
import { problemLine } from "../../../src/config/problems.ts";
import { anyText, expectOneLine, textOf } from "./texts.ts";

describe("octal escapes", () => {
  test.each([
    ["a\\040b", "a b"],
    ["\\011\\134\\043", "\t\\#"],
    ["stra\\303\\237e", "straße"],
    ["straße\\040x", "straße x"],
    ["a\\", "a\\"],
    ["a\\04", "a\\04"],
    ["a\\800b", "a\\800b"],
    ["a\\777", "a\\777"],
    ["\\\\040", "\\ "],
    ["\\377", "\ufffd"],
    ["no escape", "no escape"],
  ])("fstab: %j is %j", (field, text) => {
    expect(decodeOctalEscapes(field, "fstab")).toBe(text);
  });

  test.each([
    ["a\\040b", "a b"],
    ["a\\0040b", "a b"],
    ["a\\054b", "a,b"],
    ["a\\0134b", "a\\b"],
    ["a\\134b", "a\\134b"],
    ["a\\0", "a\\0"],
  ])("crypttab: %j is %j", (field, text) => {
    expect(decodeOctalEscapes(field, "crypttab")).toBe(text);
  });

  test("a name with its blanks written as escapes comes back whole", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const escaped = text.replace(
          /[ \t\n\\#]/g,
          (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`,
        );
        expect(decodeOctalEscapes(escaped, "fstab")).toBe(text.toWellFormed());
      }),
    );
  });
});

describe("fstab", () => {
  test("entries keep their lines, whatever stands between them", () => {
    const text = [
      "# /etc/fstab: static file system information.",
      "",
      "UUID=6e8c / bcachefs rw,relatime,degraded 0 1",
      "  \t# a comment that is indented",
      "/dev/sdb:/dev/sdc\t/my\\040data   bcachefs\tdefaults,nofail\t0\t0\r",
      "LABEL=swap none swap sw",
    ].join("\n");
    expect(parseFstab(text, "/etc/fstab")).toEqual({
      file: "/etc/fstab",
      entries: [
        { device: "UUID=6e8c", mountPoint: "/", type: "bcachefs", options: ["rw", "relatime", "degraded"], line: 3 },
        {
          device: "/dev/sdb:/dev/sdc",
          mountPoint: "/my data",
          type: "bcachefs",
          options: ["defaults", "nofail"],
          line: 5,
        },
        { device: "LABEL=swap", mountPoint: "none", type: "swap", options: ["sw"], line: 6 },
      ],
      problems: [],
    });
  });

  test.each([
    ["/dev/sda", "expected a device, a mount point, a type and options, got 1 of these: ignored", 0],
    ["/dev/sda /", "expected a device, a mount point, a type and options, got 2 of these: ignored", 0],
    ["/dev/sda / ext4", 'no mount options (the fourth field): taken as "defaults"', 1],
    ["/dev/sda / ext4 rw 0 1 more", "expected at most 6 fields, got 7: the others are ignored", 1],
    ["/dev/sda / ext4 rw 0 yes", "the fifth and sixth field are numbers", 1],
    ["/dev/sda /\\033[2J ext4 rw", "control characters, or bytes that are no UTF-8: ignored", 0],
    ["/dev/sda /\\377 ext4 rw", "control characters, or bytes that are no UTF-8: ignored", 0],
  ])("%j is a warning that names its line", (line, warning, entries) => {
    const fstab = parseFstab(`\n${line}\n`, "/etc/fstab");
    expect(fstab.problems.map(problemLine)).toEqual([`/etc/fstab:2: ${warning}`]);
    expect(fstab.problems.every(({ severity }) => severity === "warning")).toBe(true);
    expect(fstab.entries.length).toBe(entries);
  });

  test.each<[string, string[]]>([
    ["", []],
    ["a,,b,", ["a", "b"]],
    ['context="u:r:t:s0:c1,c2",ro', ['context="u:r:t:s0:c1,c2"', "ro"]],
    ['a="x,y', ['a="x,y']],
  ])("options %j", (text, options) => {
    expect(splitOptions(text)).toEqual(options);
  });
});

describe("crypttab", () => {
  test("entries of both dialects", () => {
    const text = [
      "# <target name> <source device> <key file> <options>",
      "cryptroot UUID=6e8c1f2a-0b3d-4c5e-8f70-123456789abc none luks,discard,initramfs,x-initrd.attach",
      "swap /dev/sda3 /dev/urandom swap,cipher=aes-xts-plain64,size=512",
      "data PARTLABEL=data - tries=0,luksy",
      "two /dev/sdb",
      "spaces /dev/disk/by-label/a\\x20b /etc/my\\040key keyscript=/bin/a\\054b",
    ].join("\n");
    const { entries, problems } = parseCrypttab(text, "/etc/crypttab");
    expect(problems).toEqual([]);
    expect(entries.map(({ name, keyField, keyFile, line }) => ({ name, keyField, keyFile, line }))).toEqual([
      { name: "cryptroot", keyField: "none", keyFile: undefined, line: 2 },
      { name: "swap", keyField: "/dev/urandom", keyFile: "/dev/urandom", line: 3 },
      { name: "data", keyField: "-", keyFile: undefined, line: 4 },
      { name: "two", keyField: undefined, keyFile: undefined, line: 5 },
      { name: "spaces", keyField: "/etc/my key", keyFile: "/etc/my key", line: 6 },
    ]);
    expect(entries[4]?.device).toEqual({ by: "tag", tag: "LABEL", value: "a b" });
    expect(entries[0]?.options).toEqual([
      { name: "luks", value: undefined, knownTo: ["systemd", "debian"] },
      { name: "discard", value: undefined, knownTo: ["systemd", "debian"] },
      { name: "initramfs", value: undefined, knownTo: ["debian"] },
      { name: "x-initrd.attach", value: undefined, knownTo: ["systemd"] },
    ]);
    expect(entries[2]?.options).toEqual([
      { name: "tries", value: "0", knownTo: ["systemd", "debian"] },
      { name: "luksy", value: undefined, knownTo: [] },
    ]);
    expect(entries[4]?.options).toEqual([{ name: "keyscript", value: "/bin/a,b", knownTo: ["debian"] }]);
  });

  test("what each reader will not obey can be told", () => {
    const { entries } = parseCrypttab("a /dev/sda none luks,keyscript=x,tpm2-device=auto,luksy", "/etc/crypttab");
    expect(optionsIgnoredBy("systemd", entries[0]?.options ?? [])).toEqual(["keyscript", "luksy"]);
    expect(optionsIgnoredBy("debian", entries[0]?.options ?? [])).toEqual(["tpm2-device", "luksy"]);
  });

  test.each([
    ["alone", "expected a name and a device: ignored"],
    ["a/b /dev/sda", '"a/b" cannot be the name of a mapping: ignored'],
    [".. /dev/sda", '".." cannot be the name of a mapping: ignored'],
    ["a\\033b /dev/sda", '"a b" cannot be the name of a mapping: ignored'],
    ["a sda", 'a: expected UUID=…, LABEL=…, or a path, got "sda": ignored'],
    ["a UUID= none", "a: UUID= is empty: ignored"],
    ["a /dev/sda \\007", "a: the third field has control characters: ignored"],
    ["first /dev/sdb", '"first" is named in line 1 already: ignored'],
  ])("%j is a warning that names its line", (line, warning) => {
    const { entries, problems } = parseCrypttab(`first /dev/sda none luks\n\n${line}\n`, "/etc/crypttab");
    expect(problems.map(problemLine)).toEqual([`/etc/crypttab:3: ${warning}`]);
    expect(entries.map(({ name, line }) => [name, line])).toEqual([["first", 1]]);
  });

  test("a fifth field is named and ignored", () => {
    const { entries, problems } = parseCrypttab("a /dev/sda none luks, discard", "/etc/crypttab");
    expect(problems.map(problemLine)).toEqual([
      "/etc/crypttab:1: expected at most 4 fields, got 5: the others are ignored",
    ]);
    expect(entries.length).toBe(1);
  });
});

describe("properties", () => {
  const pieces = textOf(
    "a",
    "/dev/sda",
    "UUID=1",
    " ",
    "\t",
    "\n",
    "#",
    "\\040",
    "\\0",
    "none",
    "bcachefs",
    "ro",
    ",",
    '"',
    "\u0000",
  );

  test("any text gives entries and warnings of one line that name a line of the text", () => {
    fc.assert(
      fc.property(fc.oneof(anyText, pieces), (text) => {
        for (const { entries, problems } of [parseFstab(text, "f"), parseCrypttab(text, "f")]) {
          for (const problem of problems) {
            expect(problem.severity).toBe("warning");
            expectOneLine(problemLine(problem));
            expect(problem.origin.line).toBeLessThanOrEqual(text.split("\n").length);
          }
          for (const entry of entries) expect(entry.line).toBeGreaterThan(0);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("a megabyte of rubbish has an end", () => {
    for (const line of ["x", "x /dev/x", "/dev/a /b bcachefs ro 0 0"]) {
      const text = `${line}\n`.repeat(Math.floor((1024 * 1024) / (line.length + 1)));
      for (const { entries, problems } of [parseFstab(text, "f"), parseCrypttab(text, "f")]) {
        expect(entries.length).toBeLessThanOrEqual(4096);
        expect(problems.length).toBeLessThanOrEqual(51);
      }
    }
  });
});
