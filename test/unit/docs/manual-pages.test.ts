import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Glob } from "bun";
import { Command, type Option } from "commander";
import { commandLine } from "../../../src/commands/command-line.ts";
import { parseToml } from "../../../src/config/toml.ts";
import { exitStatus } from "../../../src/system/errors.ts";
import { flagsText, items, longOptions, pagesFolder, readPage, section, synopsisForms } from "./manual-page.ts";

const root = join(import.meta.dir, "../../..");
const files = [...new Glob("*.[58]").scanSync(pagesFolder)].sort();

const help = new Command().createHelp();
const subcommands = (command: Command): readonly Command[] =>
  help.visibleCommands(command).filter((each) => each.name() !== "help");
const program = await commandLine();
const commands = subcommands(program);
const pageOf = (command: Command): string => (command === program ? "latchkey.8" : `latchkey-${command.name()}.8`);
/** The command, or each of its own subcommands: one line of the synopsis. */
const formsOf = (command: Command): readonly Command[] =>
  command !== program && subcommands(command).length > 0 ? subcommands(command) : [command];
const optionsOf = (command: Command): readonly Option[] =>
  formsOf(command).flatMap((form) => help.visibleOptions(form));
const unique = (texts: readonly string[]): readonly string[] => [...new Set(texts)].sort();
const flagsOf = (command: Command): readonly string[] => unique(optionsOf(command).map(({ flags }) => flags));
const longOf = (command: Command): readonly string[] => unique(optionsOf(command).map(({ long }) => long ?? ""));
/** Of a command that is not written yet, the overview: the first test names what is missing. */
const pageFile = (command: Command): string => (files.includes(pageOf(command)) ? pageOf(command) : "latchkey.8");

test("each command that the help shows has a page, and each page its command", () => {
  expect(commands.length).toBeGreaterThan(7);
  expect(files).toEqual([...commands.map(pageOf), "latchkey.8", "latchkey.toml.5"].sort());
});

describe.each([program, ...commands].map((command) => [pageOf(command), command] as const))("%s", (_, command) => {
  const page = readPage(pageFile(command));
  const forms = synopsisForms(section(page, "SYNOPSIS"));

  test("has the options of the command, as its help has them, and no others", () => {
    const documented = items(section(page, "OPTIONS")).filter((item) => item.startsWith("Fl"));
    expect(documented.map(flagsText).toSorted()).toEqual([...flagsOf(command)]);
  });

  test("has all of them in the synopsis, with what they take", () => {
    for (const form of formsOf(command)) {
      const long = help.visibleOptions(form).map(({ flags }) => flags.replace("-h, ", ""));
      const lines = forms
        .filter(({ name }) => formsOf(command).length === 1 || name === form.name())
        .flatMap((each) => each.lines);
      const shown = lines.flatMap((line) => flagsText(line).match(/--[a-z0-9-]+(?: <\w+>)?/g) ?? []);
      expect(shown.toSorted()).toEqual(long.filter((flags) => command === program || flags !== "--help").toSorted());
    }
  });

  test("has the arguments in the synopsis", () => {
    const lines = forms.flatMap((form) => form.lines);
    for (const argument of formsOf(command).flatMap((form) => form.registeredArguments)) {
      const name = `Ar ${argument.name().replaceAll("|", " | ")}${argument.variadic ? " ..." : ""}`;
      expect(lines).toContain(argument.required ? `.${name}` : `.Op ${name}`);
    }
  });

  test("names what an option may be, and what it is when it is left out", () => {
    const text = [...page.sections.values()].flat();
    for (const { argChoices = [], defaultValue } of optionsOf(command)) {
      for (const choice of argChoices) expect(text).toContain(`.It Cm ${choice}`);
      if (typeof defaultValue === "string") expect(text.join("\n")).toContain(defaultValue);
    }
  });

  test("has exit statuses that there are", () => {
    const known = Object.values(exitStatus).map(String);
    for (const status of items(section(page, "EXIT STATUS"))) expect(known).toContain(status);
  });
});

describe.each(files)("%s", (file) => {
  const page = readPage(file);
  const own = [program, ...commands].find((command) => pageOf(command) === file) ?? program;

  test("names no option that does not exist, in examples neither", () => {
    for (const line of [...page.sections.values()].flat()) {
      const named = commands.find((command) => new RegExp(`\\blatchkey ${command.name()}\\b`).test(line));
      for (const option of longOptions(line)) expect(longOf(named ?? own)).toContain(option);
    }
  });

  test("has what a page must have", () => {
    const headings = [...page.sections.keys()];
    const wanted = ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "SEE ALSO"];
    expect(headings).toEqual(
      expect.arrayContaining(file.endsWith(".5") ? wanted : [...wanted, "OPTIONS", "EXIT STATUS"]),
    );
  });

  test("refers to pages that there are", () => {
    const text = [...page.sections.values()].flat().join("\n");
    for (const [, name, number] of text.matchAll(/\.Xr (latchkey\S*) (\d)/g))
      expect(files).toContain(`${name}.${number}`);
  });

  for (const [tool, argv] of [
    ["mandoc", ["mandoc", "-T", "lint", "-W", "style"]],
    ["groff", ["groff", "-mandoc", "-ww", "-z"]],
  ] as const) {
    const isThere = Bun.which(tool) !== null;
    test.skipIf(!isThere)(`is clean for ${tool}${isThere ? "" : " (skipped: it is not installed)"}`, () => {
      const { stdout, stderr } = Bun.spawnSync([...argv, join(pagesFolder, file)]);
      const complaints = `${stdout}${stderr}`.split("\n");
      // Whether other packages' pages are installed says nothing about this one.
      expect(complaints.filter((line) => !/^$|referenced manual not found|outdated mandoc\.db/.test(line))).toEqual([]);
    });
  }
});

describe("latchkey.8", () => {
  test("lists the commands in the order of the help, each with its page", () => {
    const lines = section(readPage("latchkey.8"), "DESCRIPTION");
    const listed = items(lines).flatMap((item) => /^Cm ([\w-]+)$/.exec(item)?.[1] ?? []);
    expect(listed).toEqual(commands.map((command) => command.name()));
    for (const name of listed) expect(lines).toContain(`.Xr latchkey-${name} 8 .`);
  });
});

describe("latchkey.toml.5", () => {
  const page = readPage("latchkey.toml.5");
  const text = items(section(page, "DESCRIPTION")).map((item) => item.replaceAll(/ Ns | No |\bSy |\bAr /g, " "));
  const configuration = readFileSync(join(root, "docs/configuration.md"), "utf8");
  const rows = [...configuration.matchAll(/^\| `([^`]+)` \|/gm)].map(([, key = ""]) => key);

  test("has every key and parameter that docs/configuration.md has", () => {
    const keys = rows.filter((key) => /^(?:[a-z_]+$|volumes\.|pools\.|policy\.|remote\.|rd\.latchkey)/.test(key));
    expect(keys.length).toBeGreaterThan(12);
    for (const key of keys.filter((each) => !["true", "false"].includes(each))) {
      const name = key.replace(/^(?:volumes|pools)\.NAME\.|^policy\.|^remote\./, "").replace(/=.*/, "");
      expect(text.some((item) => item.trim().split(/[ =]/)[0] === name || item.trim() === key)).toBe(true);
    }
  });

  test("has an example without mistakes", () => {
    const [, example = ""] = /^\.Bd -literal[^\n]*\n(.*?)\n\.Ed$/ms.exec(section(page, "EXAMPLES").join("\n")) ?? [];
    const { problems, volumes } = parseToml(example, "latchkey.toml");
    expect(problems).toEqual([]);
    expect(volumes.map(({ name }) => name)).toEqual(["root", "d1", "d2"]);
  });
});
