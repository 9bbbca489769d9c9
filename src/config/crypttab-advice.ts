import type { CrypttabEntry } from "./crypttab.ts";
import { type CrypttabServer, optionsDisobeyed } from "./crypttab-options.ts";
import { readLuksOptions } from "./luks-options.ts";
import { quoted } from "./parsed.ts";

/**
 * What is to be said of an entry for the one that will obey it: options it does not know or does not obey, and values
 * nobody can use. Sentences without a place; empty where all is well. At boot the same is said of the entries that latchkey serves.
 */
export function crypttabAdvice(entry: CrypttabEntry, server: CrypttabServer): readonly string[] {
  const { keyField, keyFile, options } = entry;
  const has = (name: string): boolean => options.some((option) => option.name === name);
  const sizes = options.filter(({ name }) => name === "keyfile-size" || name === "keyfile-offset");
  return [
    ...readLuksOptions(options).problems.map((problem) => `${problem}: ignored`),
    ...optionsDisobeyed(server, options),
    // As crypttab(5) of Debian: all four fields must be there.
    ...(server === "debian" && (keyField === undefined || options.length === 0)
      ? ["Debian's scripts want a third and a fourth field: none luks"]
      : []),
    ...(server === "systemd" && has("keyscript")
      ? ["systemd has no keyscripts: after the initrd this entry is skipped"]
      : []),
    // latchkey obeys neither, which is said above.
    ...(keyFile === undefined && !has("keyscript") && server !== "latchkey"
      ? sizes.map(({ name }) => `${name} says how a key file is read, and the third field names none`)
      : []),
    ...(keyFile !== undefined && !keyFile.startsWith("/") && !has("keyscript")
      ? [`the key file ${quoted(keyFile)} is no absolute path`]
      : []),
  ];
}
