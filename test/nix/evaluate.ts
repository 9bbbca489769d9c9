import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** The pretend library; NIXPKGS_LIB names the folder of nixpkgs' own lib/default.nix to check with that instead. */
export const libraryPath = process.env["NIXPKGS_LIB"] ?? join(import.meta.dir, "pretend/lib.nix");

const EVALUATOR = "nix-instantiate";

/** Undefined when Nix is there, or why nothing can be evaluated here. */
export function whyNoNix(): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  if (folders.some((folder) => existsSync(join(folder, EVALUATOR)))) return undefined;
  return `${EVALUATOR} is not installed (Debian's package nix-bin)`;
}

/** Nix expressions by the name of the argument, each a list of them. */
export type Lists = Readonly<Record<string, readonly string[]>>;

/**
 * Evaluates a file that is a function of `{ libPath }`, and gives its value. A dummy store: nothing is built, fetched or written.
 * @throws Error with Nix's own words when it does not evaluate
 */
export function evaluate(file: string, lists: Lists = {}): unknown {
  const command = [EVALUATOR, "--store", "dummy://", "--eval", "--strict", "--json", "--show-trace"];
  const more = Object.entries(lists).flatMap(([name, texts]) => {
    return ["--arg", name, `[ ${texts.map((text) => `(${text})`).join(" ")} ]`];
  });
  const child = Bun.spawnSync([...command, "--arg", "libPath", libraryPath, ...more, join(import.meta.dir, file)], {
    // Without a home there are no configuration files of whoever runs this.
    env: { PATH: process.env["PATH"] ?? "", NIX_REMOTE: "dummy://", HOME: "/nonexistent", NIX_PATH: "" },
  });
  if (child.exitCode === 0) return JSON.parse(child.stdout.toString());
  throw new Error(`${file} does not evaluate:\n${child.stderr.toString().trim()}`);
}

/** What Nix has against a text as an expression; empty when it has nothing. */
export function parses(text: string): string {
  const child = Bun.spawnSync([EVALUATOR, "--store", "dummy://", "--parse", "-"], {
    stdin: new TextEncoder().encode(text),
  });
  return child.exitCode === 0 ? "" : child.stderr.toString().trim();
}

/** The files that Nix cannot even parse, with its words. */
export function parseErrors(files: readonly string[]): readonly string[] {
  return files.flatMap((file) => {
    const child = Bun.spawnSync([EVALUATOR, "--store", "dummy://", "--parse", file]);
    return child.exitCode === 0 ? [] : [`${file}: ${child.stderr.toString().trim()}`];
  });
}
