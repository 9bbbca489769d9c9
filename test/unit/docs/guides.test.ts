/** README and docs/ tell the truth: what they link to is there, and their commands, options, codes and settings exist. */
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { Glob } from "bun";
import type { Command } from "commander";
import { commandLine } from "../../../src/commands/command-line.ts";
import { parseToml } from "../../../src/config/toml.ts";
import { errorTable } from "../../../src/system/error-table.ts";

const root = join(import.meta.dir, "../../..");
const files = ["README.md", ...new Glob("docs/**/*.md").scanSync(root)].sort();
const program = await commandLine();
const fenced = /^ *```(\w*)\n(.*?)^ *```$/gms;

describe.each(files)("%s", (file) => {
  const text = readFileSync(join(root, file), "utf8");

  test("links to files and headings that there are", () => {
    const links = [...text.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)];
    const broken = links.filter(([, path = "", heading]) => {
      const target = path === "" ? file : normalize(join(dirname(file), path));
      if (!existsSync(join(root, target))) return true;
      return heading !== undefined && !headingsOf(target).includes(heading);
    });
    expect(broken.map(([link]) => link)).toEqual([]);
  });

  test("shows commands with options that there are", () => {
    expect(commandsIn(text).flatMap(mistakesIn)).toEqual([]);
  });

  test("names error codes that there are", () => {
    const areas = new Set(Object.keys(errorTable).map((code) => code.split("/")[0]));
    const named = [...text.matchAll(/`([a-z0-9-]+)\/([a-z0-9-]+)`/g)].filter(([, area = ""]) => areas.has(area));
    expect(named.map(([, area, word]) => `${area}/${word}`).filter((code) => !(code in errorTable))).toEqual([]);
  });
});

describe("settings", () => {
  const paths = files.filter((file) => file.startsWith("docs/paths/") || file === "README.md");
  const examples = paths.flatMap((file) =>
    [...readFileSync(join(root, file), "utf8").matchAll(/^```toml\n(.*?)^```$/gms)].map(
      ([, example = ""], index) => [`${file}, example ${index + 1}`, example] as const,
    ),
  );

  test.each(examples)("%s has no mistakes", (_, example) => {
    // What a pool is made of may stand in crypttab, which is not here.
    const { problems } = parseToml(example, "latchkey.toml");
    expect(problems.filter(({ key }) => key?.startsWith("pools.") !== true)).toEqual([]);
  });
});

test("the page of each path is named in the README", () => {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  for (const page of [...new Glob("docs/paths/*.md").scanSync(root), "docs/troubleshooting.md", "docs/recovery.md"])
    expect(readme).toContain(`(${page})`);
});

describe("docs/troubleshooting.md", () => {
  const sources = [...new Glob("src/**/*.ts").scanSync(root)].map((file) => readFileSync(join(root, file), "utf8"));
  const page = readFileSync(join(root, "docs/troubleshooting.md"), "utf8");
  const text = page.slice(page.indexOf("## What the reason means"));
  const messages = [...text.matchAll(/^\| `((?:[^` ]+ ){3,}[^`]+)` /gm)].map(([, message = ""]) => message);

  test.each(messages)("%s: is what latchkey says", (message) => {
    // Names and numbers are put in when it is said: what stands between them is in the source, in runs of words.
    const runs = message.split(/\s*\S*[^A-Za-z' -]\S*\s*/).map((run) => run.split(" "));
    const length = runs.some((run) => run.length >= 3) ? 3 : 2;
    const parts = runs.flatMap((run) =>
      run.slice(length - 1).map((_, index) => run.slice(index, index + length).join(" ")),
    );
    expect(parts.filter((part) => sources.some((source) => source.includes(part)))).not.toEqual([]);
  });

  test("has messages to compare", () => {
    expect(messages.length).toBeGreaterThan(10);
  });
});

/** As GitHub makes anchors of them. */
function headingsOf(file: string): readonly string[] {
  const text = readFileSync(join(root, file), "utf8").replaceAll(fenced, "");
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

/** `latchkey …` at the start of a line of code or of a span of code, after a path, `sudo` or another command. */
function commandsIn(text: string): readonly string[] {
  const prose = text.replaceAll(fenced, "");
  const code = [
    ...[...text.matchAll(fenced)].flatMap(([, language, block = ""]) =>
      language === "" || language === "sh" ? typedIn(block) : [],
    ),
    ...[...prose.matchAll(/^ {4,}(\S.*)$/gm)].map(([, line = ""]) => line),
    ...[...prose.matchAll(/`([^`\n]+)`/g)].map(([, span = ""]) => span),
  ];
  return code
    .flatMap((line) => line.replace(/\s#.*$/, "").split(/\s*(?:&&|\|(?!\S)|;)\s*/))
    .map((line) => line.trim())
    .filter((line) => /^(?:for .* do |do )?(?:sudo )?(?:\.\/|dist\/|\/usr\/bin\/)?latchkey [a-z-]/.test(line));
}

/** Of a block with prompts, what stands behind them: the rest is what the commands print. */
function typedIn(block: string): readonly string[] {
  const lines = block.split("\n");
  const typed = lines.flatMap((line) => /^[$#] (.*)$/.exec(line)?.[1] ?? []);
  return typed.length > 0 ? typed : lines;
}

function mistakesIn(line: string): readonly string[] {
  const [, ...words] = line.slice(line.indexOf("latchkey")).split(/\s+/);
  const command = subcommand(program, words[0]);
  if (!command) return /^--(?:version|help)$/.test(words[0] ?? "") ? [] : [`${line}: no such command`];
  const inner = subcommand(command, words[1]) ?? command;
  if (inner === command && command.commands.length > 0 && /^\w/.test(words[1] ?? ""))
    return [`${line}: no ${words[1]}`];
  const known = new Set(["--help", ...inner.options.flatMap(({ long }) => long ?? [])]);
  const named = words.flatMap((word) => /^--[a-z0-9-]+/.exec(word)?.[0] ?? []);
  return named.filter((option) => !known.has(option)).map((option) => `${line}: no option ${option}`);
}

function subcommand(command: Command, name: string | undefined): Command | undefined {
  return command.commands.find((each) => each.name() === name);
}
