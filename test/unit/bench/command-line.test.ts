import { expect, test } from "bun:test";
import { readWish } from "../../bench/command-line.ts";

const PARTS = ["unlock", "pool", "boots"] as const;
const read = (line: string) => readWish(line.split(" ").filter(Boolean), PARTS);
const everything = { parts: [...PARTS], isWriting: false, isBeside: false, pairs: undefined };

test.each([
  ["", everything],
  ["--write", { ...everything, isWriting: true }],
  ["boots unlock boots", { ...everything, parts: ["unlock", "boots"] }],
  ["--write pool", { ...everything, parts: ["pool"], isWriting: true }],
  ["--beside-others --pairs 1 pool", { ...everything, parts: ["pool"], isBeside: true, pairs: 1 }],
])("%p is understood", (line, wish) => {
  expect(read(line)).toEqual(wish as ReturnType<typeof read>);
});

test.each(["nothing", "--pairs", "--pairs 0", "--pairs 1.5", "--pairs many", "--pairs 1001", "--read", "pool nothing"])(
  "%p is not",
  (line) => {
    expect(read(line)).toBeUndefined();
  },
);
