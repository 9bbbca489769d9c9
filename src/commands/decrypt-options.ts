/** Options of `latchkey decrypt` that take a value, and what they are called once they are read. */
const names = { "--wait": "wait", "--tpm": "tpm", "--ca-file": "caFile" } as const;

export type DecryptOptions = { readonly [option in (typeof names)[keyof typeof names]]?: string };

/**
 * The plain spellings of the options, read without the command line's library: an initrd runs `latchkey decrypt` for one token
 * and waits for it. What is anything else, be it a question for help or a mistake, is left to the library.
 * @param words after the command's name
 * @returns the options as the library would give them, or undefined
 */
export function plainDecryptOptions(words: readonly string[]): DecryptOptions | undefined {
  const options: { -readonly [option in keyof DecryptOptions]: string } = {};
  for (let at = 0; at < words.length; at += 2) {
    const [name = "", value] = words.slice(at, at + 2);
    if (!Object.hasOwn(names, name) || value === undefined || value.startsWith("-")) return undefined;
    options[names[name as keyof typeof names]] = value;
  }
  return options;
}
