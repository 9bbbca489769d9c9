import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { stringify } from "smol-toml";
import { z } from "zod";
import type { SourcePlan } from "../../../src/config/plan.ts";
import { problemLine } from "../../../src/config/problems.ts";
import { type SourceEntry, sourcesOfThisVersion } from "../../../src/config/source-registry.ts";
import { parseToml } from "../../../src/config/toml.ts";
import { complaints, file, read, volume } from "./documents.ts";
import { uuid } from "./machine.ts";
import { anyText, expectOneLine, textOf } from "./texts.ts";

describe("what is left of a configuration with mistakes", () => {
  test("a key that is wrong does not take its neighbours along", () => {
    const { promptAfter, deviceTimeout, volumes } = read(`prompt_after = 1\ndevice_timeout = "1s"\n${volume("x = 1")}`);
    expect({ promptAfter, deviceTimeout, names: volumes.map(({ name }) => name) }).toEqual({
      promptAfter: undefined,
      deviceTimeout: 1000,
      names: ["root"],
    });
  });

  test("of a list of devices those that are devices stay", () => {
    expect(read(volume('device = ["sda", "/dev/sdb"]')).volumes[0]?.devices).toEqual([
      { by: "path", path: "/dev/sdb" },
    ]);
  });

  test("a volume of unknown kind is one if its device holds a bcachefs", () => {
    for (const kind of ['kind = "bcachfs"', "kind = 1"]) {
      expect(read(volume(kind)).volumes[0]).toMatchObject({ kind: "bcachefs", certainty: "if-bcachefs" });
    }
  });

  test("a volume of a later kind is left to the system", () => {
    expect(read(volume('kind = "zfs"'))).toMatchObject({
      volumes: [],
      leftToSystem: [{ name: "root", reason: "this version of latchkey does not open zfs volumes" }],
    });
  });

  test("other sources stay in their order; when none is left, the passphrase is asked for, and that is said", () => {
    expect(read(volume('sources = ["usb", "prompt"]')).volumes[0]?.sources).toEqual([{ kind: "prompt" }]);
    expect(read(volume('sources = ["usb"]')).volumes[0]?.sources).toEqual([{ kind: "prompt" }]);
    expect(read(volume("sources = []")).volumes[0]?.sources).toEqual([{ kind: "prompt" }]);
    expect(complaints(volume('sources = ["usb"]'))).toEqual([
      'latchkey.toml:4: volumes.root.sources: usb: expected { uuid = "…", path = "…", sha256 = "…" }, or a list of them',
      "latchkey.toml:4: volumes.root.sources: no source is left, so the passphrase is asked for",
    ]);
  });

  test("of a file that is no TOML nothing is left", () => {
    expect(read("[")).toMatchObject({ volumes: [], pools: [] });
  });
});

describe("a source that joins", () => {
  // A kind that is there already, with settings of its own: the first entry with a name counts.
  const stick: SourceEntry = {
    kind: "usb",
    settings: z
      .strictObject({ a: z.string({ error: "missing" }) }, { error: "expected a table with a" })
      .transform((settings) => [{ kind: "usb", ...settings } as unknown as SourcePlan]),
    mostTables: 2,
    judge: (plan) =>
      (plan as unknown as { a: string }).a === "odd"
        ? { severity: "warning", code: "config/invalid-value", key: "a", text: "is odd" }
        : undefined,
  };
  const sourcesOf = (...lines: string[]) => parseToml(volume(...lines), file, [stick, ...sourcesOfThisVersion]);

  test("brings one entry, and its tables become its plans, in the order of the list", () => {
    const { volumes, problems } = sourcesOf('sources = ["usb", "prompt"]', 'usb = [{ a = "1" }, { a = "odd" }]');
    expect(problems.map(problemLine)).toEqual(["latchkey.toml:5: volumes.root.usb.a: is odd"]);
    expect(volumes[0]?.sources as unknown).toEqual([
      { kind: "usb", a: "1" },
      { kind: "usb", a: "odd" },
      { kind: "prompt" },
    ]);
  });

  test("names what is wrong in one table, and the others stay", () => {
    const { volumes, problems } = sourcesOf('sources = ["usb"]', 'usb = [{ b = "1" }, { a = "2" }, { a = "3" }]');
    expect(problems.map(problemLine)).toEqual([
      "latchkey.toml:5: volumes.root.usb: more than 2 of them",
      "latchkey.toml:5: volumes.root.usb.a: missing",
      "latchkey.toml:5: volumes.root.usb: expected a table with a",
    ]);
    expect(volumes[0]?.sources as unknown).toEqual([{ kind: "usb", a: "2" }]);
  });

  test("is not used because its table is there", () => {
    const { problems } = sourcesOf('sources = ["prompt"]', 'usb = { a = "1" }');
    expect(problems.map(problemLine)).toEqual([
      "latchkey.toml:5: volumes.root.usb: set up here, but not named in volumes.root.sources",
    ]);
  });
});

describe("limits", () => {
  test("256 volumes, and not one more", () => {
    const text = Array.from(
      { length: 257 },
      (_, i) => `[volumes.v${i}]\nkind = "bcachefs"\ndevice = "/dev/v${i}"\n`,
    ).join("");
    expect(read(text).volumes.length).toBe(256);
    expect(complaints(text)).toEqual(["latchkey.toml:1: volumes: more than 256 volumes"]);
  });

  test("64 devices of a volume, 16 sources, 64 pools", () => {
    const devices = Array.from({ length: 65 }, (_, i) => `"/dev/v${i}"`).join();
    expect(complaints(volume(`device = [${devices}]`))).toEqual([
      "latchkey.toml:3: volumes.root.device: names more than 64 devices",
    ]);
    const sources = Array.from({ length: 17 }, () => '"prompt"').join();
    expect(complaints(volume(`sources = [${sources}]`))[0]).toBe(
      "latchkey.toml:4: volumes.root.sources: names more than 16 sources",
    );
    const pools = Array.from({ length: 65 }, (_, i) => `[pools.p${i}]\nvolumes = ["a"]\n`).join("");
    expect(complaints(pools)).toEqual(["latchkey.toml:1: pools: more than 64 pools"]);
  });

  test("a file full of mistakes gives an end of complaints, and soon", () => {
    const started = performance.now();
    const text = Array.from({ length: 60_000 }, (_, i) => `key${i} = 1\n`).join("");
    expect(complaints(text).length).toBe(51);
    expect(performance.now() - started).toBeLessThan(3000);
  });
});

describe("properties", () => {
  const pieces = textOf(
    "[",
    "]",
    "volumes",
    "root",
    ".",
    "=",
    '"',
    "'",
    "{",
    "}",
    ",",
    "\n",
    "kind",
    "device",
    "sources",
    "prompt",
    "pools",
    "policy",
    "1",
    "true",
    "#",
    "\u0000",
  );
  const scalar = fc.oneof(
    fc.string({ maxLength: 8 }),
    fc.boolean(),
    fc.nat(),
    fc.constantFrom("prompt", "usb", "bcachefs", "luks", `UUID=${uuid}`, "2s"),
  );
  const anyValue = fc.oneof(
    scalar,
    fc.array(scalar, { maxLength: 3 }),
    fc.dictionary(fc.constantFrom("a", "kind", "device"), scalar, { maxKeys: 3 }),
  );
  const volumeTable = fc.dictionary(
    fc.constantFrom("kind", "device", "sources", "usb", "prompt", "__proto__"),
    anyValue,
    { maxKeys: 5 },
  );
  const anyTree = fc.record(
    {
      prompt_after: anyValue,
      volumes: fc.oneof(
        anyValue,
        fc.dictionary(fc.string({ maxLength: 4 }), fc.oneof(anyValue, volumeTable), { maxKeys: 4 }),
      ),
      pools: fc.oneof(
        anyValue,
        fc.dictionary(fc.constantFrom("p", "volumes"), fc.oneof(anyValue, volumeTable), { maxKeys: 2 }),
      ),
      policy: anyValue,
    },
    { requiredKeys: [] },
  );

  test("any text gives a configuration and complaints of one line", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          anyText,
          pieces,
          anyTree.map((tree) => stringify(tree)),
        ),
        (text) => {
          for (const problem of read(text).problems) {
            expect(problem.severity === "error" || problem.text.startsWith("no source is left")).toBe(true);
            expectOneLine(problemLine(problem));
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  test("no volume comes out without a name that is one, nor with an empty list of sources", () => {
    fc.assert(
      fc.property(anyTree, (tree) => {
        for (const found of read(stringify(tree)).volumes) {
          expect(found.name).toMatch(/^[A-Za-z0-9._-]+$/);
          expect(found.sources?.length).not.toBe(0); // undefined: nothing is said, and the plan has its default
        }
      }),
      { numRuns: 500 },
    );
  });

  test("every cut of a real file is read without an error of our own", () => {
    const text = `${volume('sources = ["prompt"]')}[pools.data]\nvolumes = ["root"]\n[policy]\nallow_degraded = true\n`;
    for (let end = 0; end <= text.length; end += 1) read(text.slice(0, end));
  });
});
