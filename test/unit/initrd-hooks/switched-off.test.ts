import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseKernelCommandLine } from "../../../src/config/kernel-command-line.ts";
import { OFF_WORDS, ON_WORDS } from "./off-words.ts";

const unit = readFileSync(join(import.meta.dir, "../../../initrd-hooks/dracut/latchkey.service"), "utf8");
const conditions = [...unit.matchAll(/^ConditionKernelCommandLine=!rd\.latchkey=(.*)$/gm)].map(
  ([, word]) => word ?? "",
);

test("the words of these tests are those of the program", () => {
  for (const word of OFF_WORDS) expect(parseKernelCommandLine(`rd.latchkey=${word}`).enabled).toBe(false);
  for (const word of ON_WORDS) expect(parseKernelCommandLine(`rd.latchkey=${word}`).enabled).not.toBe(false);
});

test("systemd does not even start the program, whatever the word; in capitals the program ends by itself", () => {
  expect(conditions).toEqual(OFF_WORDS.filter((word) => word === word.toLowerCase()));
});
