import { readFileSync, statSync } from "node:fs";
import { grouped, table } from "./figures.ts";
import type { Initrds } from "./initrds.ts";

const LEVEL = 19;

/** What the program adds to a disk and to an initrd. */
export async function sizesBenchmark(binary: string, initrds: Initrds): Promise<string> {
  const whole = readFileSync(binary);
  const compressed = (await Bun.zstdCompress(whole, { level: LEVEL })).length;
  const stock = statSync(initrds.stock).size;
  const image = (name: string, file: string): readonly string[] => {
    const { size } = statSync(file);
    return [name, grouped(size), file === initrds.stock ? "" : `+${grouped(size - stock)}`];
  };
  return `## Sizes

Bytes. The initrds are dracut's, \`--no-hostonly\` with the drivers of a small virtual machine, compressed as dracut does it.

${table(
  ["", "bytes", "more than stock"],
  [
    ["the program", grouped(whole.length), ""],
    [`the program, zstd -${LEVEL}`, grouped(compressed), ""],
    image("initrd, stock: with bcachefs-tools", initrds.stock),
    image("initrd with latchkey and bcachefs-tools", initrds.latchkey),
    image("initrd with latchkey alone", initrds.latchkeyAlone),
  ],
)}
`;
}
