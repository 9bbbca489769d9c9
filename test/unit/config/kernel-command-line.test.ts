import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseKernelCommandLine } from "../../../src/config/kernel-command-line.ts";
import { tokenizeKernelCommandLine } from "../../../src/config/kernel-parameters.ts";
import { problemLine } from "../../../src/config/problems.ts";
import { anyText, expectOneLine, textOf } from "./texts.ts";

describe("cutting a command line as the kernel does", () => {
  test.each<[string, [string, string | undefined][]]>([
    ["", []],
    [" \n", []],
    [
      "ro quiet\n",
      [
        ["ro", undefined],
        ["quiet", undefined],
      ],
    ],
    [
      "root=UUID=x  rw",
      [
        ["root", "UUID=x"],
        ["rw", undefined],
      ],
    ],
    ["root=", [["root", ""]]],
    [
      'root="LABEL=a b" rw',
      [
        ["root", "LABEL=a b"],
        ["rw", undefined],
      ],
    ],
    [
      'root=LABEL="a b" rw',
      [
        ["root", 'LABEL="a b"'],
        ["rw", undefined],
      ],
    ],
    [
      '"root=LABEL=a b" rw',
      [
        ["root", "LABEL=a b"],
        ["rw", undefined],
      ],
    ],
    ['"a b"', [["a b", undefined]]],
    ['a=""', [["a", ""]]],
    ['a="', [["a", ""]]],
    ['a="b c', [["a", "b c"]]],
    [
      'a="b"c d',
      [
        ["a", 'b"c'],
        ["d", undefined],
      ],
    ],
    ["a=b=c", [["a", "b=c"]]],
    ["=a", [["=a", undefined]]],
    [
      "a\\ b",
      [
        ["a\\", undefined],
        ["b", undefined],
      ],
    ],
    ["a -- b", [["a", undefined]]],
    [
      "a --b=1 --= c",
      [
        ["a", undefined],
        ["--b", "1"],
        ["--", ""],
        ["c", undefined],
      ],
    ],
    [
      "a\u0000b",
      [
        ["a", undefined],
        ["b", undefined],
      ],
    ],
  ])("%j", (text, expected) => {
    expect(
      tokenizeKernelCommandLine(text).map(({ name, value }): [string, string | undefined] => [name, value]),
    ).toEqual(expected);
  });

  test("quoting a value that has blanks keeps it whole", () => {
    const word = fc.string({ unit: fc.constantFrom("a", " ", "=", "-", "ä", "\t") });
    fc.assert(
      fc.property(fc.array(word), (values) => {
        const text = values.map((value, index) => `k${index}="${value}"`).join(" ");
        expect(tokenizeKernelCommandLine(text).map(({ value }) => value)).toEqual(values);
      }),
    );
  });
});

describe("latchkey's own parameters", () => {
  test.each<[string, boolean | undefined]>([
    ["rd.latchkey=0", false],
    ["rd.latchkey=no", false],
    ["rd.latchkey=OFF", false],
    ["rd.latchkey=1", true],
    ["rd.latchkey", true],
    ["rd.latchkey=0 rd.latchkey=1", true],
    ["latchkey=0", undefined],
    ["quiet -- rd.latchkey=0", undefined],
  ])("%s", (text, enabled) => {
    expect(parseKernelCommandLine(text).enabled).toBe(enabled);
  });

  test("a dash counts as an underscore, as in all names of parameters", () => {
    expect(parseKernelCommandLine("rd.latchkey.prompt-after=1m rd.latchkey.debug")).toMatchObject({
      promptAfter: 60_000,
      debug: true,
      problems: [],
    });
  });

  test("volumes are named with kind and device, and may be quoted", () => {
    const { volumes, problems } = parseKernelCommandLine(
      'rd.latchkey.volume=tank=bcachefs:/dev/sda:/dev/sdb "rd.latchkey.volume=d=bcachefs:LABEL=my disk"',
    );
    const origin = { file: "kernel command line" };
    expect(problems).toEqual([]);
    expect(volumes).toEqual([
      {
        name: "tank",
        kind: "bcachefs",
        certainty: "stated",
        devices: [
          { by: "path", path: "/dev/sda" },
          { by: "path", path: "/dev/sdb" },
        ],
        origin,
      },
      {
        name: "d",
        kind: "bcachefs",
        certainty: "stated",
        devices: [{ by: "tag", tag: "LABEL", value: "my disk" }],
        origin,
      },
    ]);
  });

  test("a volume named again gets further devices", () => {
    const { volumes } = parseKernelCommandLine(
      "rd.latchkey.volume=t=bcachefs:/dev/sda rd.latchkey.volume=t=bcachefs:LABEL=b",
    );
    expect(volumes.map(({ name, devices }) => [name, devices.length])).toEqual([["t", 2]]);
  });

  test.each([
    ["rd.latchkey=maybe", 'rd.latchkey: expected 0 or 1, got "maybe": ignored'],
    [
      "rd.latchkey.prompt_after=5",
      'rd.latchkey.prompt_after: expected a duration like "2s", "500ms" or "1m30s", got "5" (the unit is missing): ignored',
    ],
    [
      "rd.latchkey.prompt_after",
      'rd.latchkey.prompt_after: expected a duration like "2s", "500ms" or "1m30s", got "": ignored',
    ],
    ["rd.latchkey.volume=x", 'rd.latchkey.volume: expected NAME=KIND:DEVICE, got "x": ignored'],
    [
      "rd.latchkey.volume=-x=bcachefs:/dev/sda",
      'rd.latchkey.volume: a name is letters, digits, ".", "_" and "-" without a leading "-", got "-x": ignored',
    ],
    [
      "rd.latchkey.volume=x=bcachfs:/dev/sda",
      'rd.latchkey.volume: no such kind "bcachfs" (did you mean "bcachefs"?): known are bcachefs, luks, zfs, zerofs: ignored',
    ],
    [
      "rd.latchkey.volume=x=bcachefs:sda",
      'rd.latchkey.volume: expected UUID=…, LABEL=…, or a path, got "sda": ignored',
    ],
    [
      "rd.latchkey.volume=x=bcachefs:UUID=4F2A-99C1",
      'rd.latchkey.volume: "4F2A-99C1" is not the UUID of an encrypted volume (36 characters): ignored',
    ],
    ["rd.latchkey.volume=x=zfs:/dev/sda", "rd.latchkey.volume: x: this version of latchkey does not open zfs volumes"],
    [
      "rd.latchkey.pormpt_after=2s",
      'rd.latchkey.pormpt_after: no such parameter (did you mean "rd.latchkey.prompt_after"?): ignored',
    ],
    ["rd.latchkey.password=hunter2", "rd.latchkey.password: no such parameter: ignored"],
  ])("%s is a warning", (text, warning) => {
    const { problems } = parseKernelCommandLine(text);
    expect(problems.map(problemLine)).toEqual([`kernel command line: ${warning}`]);
    expect(problems[0]?.severity).toBe("warning");
  });
});

describe("the root filesystem", () => {
  test("the last root= counts, all rootflags= do, and the later of ro and rw", () => {
    const text =
      "root=/dev/sda root=UUID=1 rootfstype=ext4 rootfstype=bcachefs ro rootflags=degraded rootflags=,noatime, rw ro=1";
    expect(parseKernelCommandLine(text)).toMatchObject({
      root: "UUID=1",
      rootType: "bcachefs",
      rootFlags: ["degraded", "noatime"],
      rootReadOnly: false,
    });
  });

  test("other people's parameters are nobody's business here", () => {
    const text = "BOOT_IMAGE=/vmlinuz-6.12 console=ttyS0,115200n8 systemd.unit=rescue.target rd.break mitigations=off";
    expect(parseKernelCommandLine(text)).toEqual({
      volumes: [],
      leftToSystem: [],
      rootFlags: [],
      problems: [],
    });
  });
});

test("any text gives a command line, and warnings of one line", () => {
  const pieces = textOf(
    "rd.latchkey",
    ".volume",
    ".debug",
    "=",
    "root=",
    "rootflags=",
    '"',
    " ",
    ":",
    "a=bcachefs:/dev/a",
    "--",
    "\u001b[31m",
    "\n",
  );
  fc.assert(
    fc.property(fc.oneof(anyText, pieces), (text) => {
      for (const problem of parseKernelCommandLine(text).problems) {
        expect(problem.severity).toBe("warning");
        expectOneLine(problemLine(problem));
      }
    }),
    { numRuns: 500 },
  );
});
