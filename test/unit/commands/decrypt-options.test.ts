import { expect, test } from "bun:test";
import { Command, CommanderError } from "commander";
import fc from "fast-check";
import { registerDecrypt } from "../../../src/commands/decrypt.ts";
import { type DecryptOptions, plainDecryptOptions } from "../../../src/commands/decrypt-options.ts";

/** What the command line's library makes of the words: options, or nothing when it prints help or complains. */
function optionsByLibrary(words: readonly string[]): DecryptOptions | undefined {
  const program = new Command("latchkey").exitOverride().configureOutput({ writeOut: () => {}, writeErr: () => {} });
  registerDecrypt(program);
  const [command] = program.commands;
  if (!command) throw new Error("no command");
  command.action(() => undefined);
  try {
    program.parse(["decrypt", ...words], { from: "user" });
    return command.opts();
  } catch (thrown) {
    if (thrown instanceof CommanderError) return undefined;
    throw thrown;
  }
}

const names = ["--wait", "--tpm", "--ca-file"];
const values = fc.oneof(
  fc.constantFrom(
    "2s",
    "device:/dev/tpmrm0",
    "",
    "--",
    "-",
    "--help",
    "-h",
    "--wait",
    "--tpm",
    "1",
    "a b",
    "--ca-file=x",
  ),
  fc.string({ maxLength: 6 }),
);
const words = fc.array(fc.oneof(fc.constantFrom(...names), values), { maxLength: 7 });

test("what is read without the library is what the library reads", () => {
  let plain = 0;
  fc.assert(
    fc.property(words, (given) => {
      const options = plainDecryptOptions(given);
      if (!options) return; // the library's
      plain += 1;
      expect(optionsByLibrary(given)).toEqual(options);
    }),
    { numRuns: 3_000 },
  );
  expect(plain).toBeGreaterThan(300);
});

test("every option of the command is read without the library", () => {
  const program = new Command("latchkey");
  registerDecrypt(program);
  const options = program.commands[0]?.options ?? [];
  expect(options.map(({ long }) => long)).toEqual(names);
  for (const option of options) {
    expect(plainDecryptOptions([option.long ?? "", "value"])).toEqual({ [option.attributeName()]: "value" });
  }
});

const leftToTheLibrary = [
  ["--help"],
  ["-h"],
  ["--wait"],
  ["--wait=2s"],
  ["token.jwe"],
  ["--nothing", "x"],
  ["--wait", "--tpm"],
];

test.each(leftToTheLibrary.map((given) => ({ given })))("$given is left to the library", ({ given }) => {
  expect(plainDecryptOptions(given)).toBeUndefined();
});
