import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { formatDuration, maxDuration, parseDuration } from "../../../src/config/duration.ts";
import { nearestWord } from "../../../src/config/nearest.ts";
import { quoted } from "../../../src/config/parsed.ts";
import { nameFromMountPoint, parseVolumeName, uniqueName } from "../../../src/config/volume-name.ts";
import { decodeDeviceName, encodeDeviceName } from "../../../src/system/device-names.ts";
import { anyText } from "./texts.ts";

describe("durations", () => {
  test.each([
    ["0s", 0],
    ["2s", 2000],
    ["500ms", 500],
    ["1m30s", 90_000],
    ["1h", 3_600_000],
    ["90s", 90_000],
    ["1s500ms", 1500],
    ["24h", maxDuration],
  ])("%s is %d milliseconds", (text, milliseconds) => {
    expect(parseDuration(text)).toEqual({ value: milliseconds });
  });

  test.each([
    "",
    "2",
    "s",
    "2 s",
    " 2s",
    "-2s",
    "1.5s",
    "2S",
    "30s1m",
    "1m1m",
    "2s\n",
    "2sec",
    "1d",
    "٢s",
    "9999999999s",
  ])("%j is refused", (text) => {
    expect(parseDuration(text)).toHaveProperty("problem");
  });

  test("a bare number is told that its unit is missing", () => {
    expect(parseDuration("30")).toEqual({
      problem: 'expected a duration like "2s", "500ms" or "1m30s", got "30" (the unit is missing)',
    });
  });

  test("more than a day is refused", () => {
    expect(parseDuration("24h1ms")).toEqual({ problem: 'expected at most 24h, got "24h1ms"' });
  });

  test("what is printed parses to the same", () => {
    fc.assert(
      fc.property(fc.nat(maxDuration), (milliseconds) => {
        expect(parseDuration(formatDuration(milliseconds))).toEqual({ value: milliseconds });
      }),
    );
  });
});

describe("volume names", () => {
  test.each(["root", "d1", "luks-1234", "a.b_c-d", "_", ".hidden", "0", "x".repeat(64)])("%s is a name", (name) => {
    expect(parseVolumeName(name)).toEqual({ value: name });
  });

  test.each(["", "-root", "a b", "a/b", ".", "..", "ä", "a\n", "a\u0000", "x".repeat(65), "a=b", "a:b"])(
    "%j is none",
    (name) => {
      expect(parseVolumeName(name)).toHaveProperty("problem");
    },
  );

  test.each([
    ["/", "root"],
    ["/sysroot", "root"],
    ["/sysroot/nix", "nix"],
    ["/sysroot/var/lib", "var-lib"],
    ["/sysrootish", "sysrootish"],
    ["/home/", "home"],
    ["/mnt/a b", "mnt-a-b"],
    ["/-/", "root"],
    ["/ä", "root"],
  ])("the volume mounted on %s is called %s", (mountPoint, name) => {
    expect(nameFromMountPoint(mountPoint)).toBe(name);
  });

  test("whatever the mount point, the name made of it is a name", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(parseVolumeName(nameFromMountPoint(`/${text}`))).toHaveProperty("value");
      }),
    );
  });

  test("a taken name gets a number", () => {
    const taken = new Set(["data", "data-2"]);
    expect(uniqueName("data", (name) => taken.has(name))).toBe("data-3");
    expect(uniqueName("root", (name) => taken.has(name))).toBe("root");
  });
});

describe("names of udev's links", () => {
  test.each([
    ["plain-1.2:3+4=5@6_#", "plain-1.2:3+4=5@6_#"],
    ["a b", "a\\x20b"],
    ["a/b", "a\\x2fb"],
    ["back\\slash", "back\\x5cslash"],
    ['"', "\\x22"],
    ["straße €", "straße\\x20€"],
    ["💾", "💾"],
  ])("%s is linked as %s", (text, name) => {
    expect(encodeDeviceName(text)).toBe(name);
    expect(decodeDeviceName(name)).toBe(text);
  });

  test("a name that udev does not write is not decoded", () => {
    expect(decodeDeviceName("a b")).toBeUndefined();
    expect(decodeDeviceName("a\\x41")).toBeUndefined();
    expect(decodeDeviceName("a\\x2")).toBeUndefined();
  });

  test("decoding gives back what was encoded", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(decodeDeviceName(encodeDeviceName(text))).toBe(text);
      }),
    );
  });
});

describe("suggestions", () => {
  const known = ["device", "kind", "sources", "prompt", "prompt_after"];
  test.each([
    ["devcie", "device"],
    ["Device", "device"],
    ["kinds", "kind"],
    ["source", "sources"],
    ["promt_after", "prompt_after"],
    ["prompt-after", "prompt_after"],
  ])("%s was meant to be %s", (word, meant) => {
    expect(nearestWord(word, known)).toBe(meant);
  });

  test.each(["", "x", "passphrase", "d".repeat(100_000)])("a word that is far from all is left alone", (word) => {
    expect(nearestWord(word, known)).toBeUndefined();
  });
});

test("text from a file is cut before it stands in a message, between characters", () => {
  expect(quoted("💾".repeat(100))).toBe(`"${"💾".repeat(80)}…"`);
});
