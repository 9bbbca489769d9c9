import { problemLine } from "../../../src/config/problems.ts";
import { parseToml, type TomlConfiguration } from "../../../src/config/toml.ts";
import { uuid } from "./machine.ts";

export const file = "latchkey.toml";
export const read = (text: string): TomlConfiguration => parseToml(text, file);
export const complaints = (text: string): readonly string[] => read(text).problems.map(problemLine);

/** A volume that is as it should be, with lines to add or to put in the place of those with the same key. */
export function volume(...lines: readonly string[]): string {
  const fields = new Map(
    [`kind = "bcachefs"`, `device = "UUID=${uuid}"`, ...lines].map((line) => [line.split(" ")[0], line]),
  );
  return ["[volumes.root]", ...fields.values(), ""].join("\n");
}
