/** docs/nixos.md tells the truth: its options, commands, files and Nix are there and can be read. */
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { commandLine } from "../../src/commands/command-line.ts";
import { evaluate, parses, whyNoNix } from "./evaluate.ts";

const root = join(import.meta.dir, "../..");
const guide = readFileSync(join(root, "docs/nixos.md"), "utf8");
const blocks = (language: string): readonly string[] =>
  [...guide.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map(([, text = ""]) => text);

interface OptionFacts {
  readonly path: string;
  readonly isDescribed: boolean;
}

const reason = whyNoNix();
if (reason !== undefined) {
  test.skip(`options in the guide: ${reason}`, () => undefined);
} else {
  const options = evaluate("options.nix") as readonly OptionFacts[];
  const paths = options.map(({ path }) => path);

  test.each(options.map(({ path, isDescribed }) => [path, isDescribed] as const))(
    "option %s has a description and an example, and stands in the guide",
    (path, isDescribed) => {
      expect(isDescribed).toBe(true);
      expect(guide).toContain(`| \`${path}\` |`);
    },
  );

  test("the table has no options that there are not", () => {
    const table = guide.slice(guide.indexOf("## Options"));
    const rows = [...table.matchAll(/^\| `([\w.]+)` \|/gm)].map(([, path = ""]) => path);
    expect(rows.toSorted()).toEqual([...paths].toSorted());
  });

  test("options named in the text and in examples are there", () => {
    const named = [...guide.matchAll(/boot\.initrd\.latchkey\.([\w.]+\w)/g)].map(([, path = ""]) => path);
    expect(named.length).toBeGreaterThan(4);
    const general = named.map((path) => path.replace(/^(volumes|pools)\.(?!NAME)\w+/, "$1.NAME"));
    expect(general.filter((path) => !paths.some((known) => known === path || known.startsWith(`${path}.`)))).toEqual(
      [],
    );
  });

  describe("each example", () => {
    test.each(blocks("nix").map((text, index) => [index + 1, text] as const))("number %i is Nix", (_, text) => {
      expect(parses(text)).toBe("");
    });

    test("for the module evaluates with it, and is not refused", () => {
      const modules = blocks("nix").filter((text) => text.includes("boot.initrd"));
      expect(modules.length).toBeGreaterThan(5);
      expect(evaluate("guide.nix", { examples: modules })).toEqual(modules.map(() => []));
    });
  });
}

describe("commands in the guide", () => {
  const lines = [...guide.matchAll(/(?:^|`)latchkey ([a-z-]+)((?: [^`\n]*)?)/gm)];
  test.each(lines.map(([whole = "", name = "", rest = ""]) => [whole.replace("`", ""), name, rest] as const))(
    "%s",
    async (_, name, rest) => {
      const program = await commandLine();
      const command = program.commands.find((each) => each.name() === name);
      expect(command?.name()).toBe(name);
      const inner = command?.commands.find((each) => each.name() === rest.trim().split(" ")[0]) ?? command;
      const known = new Set(inner?.options.flatMap(({ long }) => (long === undefined ? [] : [long])));
      expect((rest.match(/--[a-z-]+/g) ?? []).filter((option) => !known.has(option))).toEqual([]);
    },
  );
});

test("files that the guide names are there", () => {
  const files = [...guide.matchAll(/`?((?:nix|test|docs)\/[\w./-]+\w)`?/g)].map(([, file = ""]) => file);
  const decisions = [...guide.matchAll(/\b((?:decisions\/)?[\w-]+\.md)\b/g)].map(([, file = ""]) => `docs/${file}`);
  expect(files.length).toBeGreaterThan(3);
  expect([...files, ...decisions].filter((file) => !existsSync(join(root, file)))).toEqual([]);
});
