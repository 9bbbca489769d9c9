import type { KeyObject } from "node:crypto";

/** More blocks of one size than the allocator was seen to keep free; a hundred microseconds' work. */
const BLOCKS = 256;

/**
 * Bun's ECDH leaves its result behind in memory it has freed. This asks for so many blocks of that size, filled with zeros,
 * that the freed one is among them. Nothing promises that; test/unit/sources/clevis/memory.test.ts looks whether it holds.
 */
export function overwriteFreedMemory(size: number): void {
  const { createSecretKey } = require("node:crypto") as typeof import("node:crypto");
  const zeros = new Uint8Array(size);
  const held: KeyObject[] = [];
  for (let block = 0; block < BLOCKS; block += 1) held.push(createSecretKey(zeros));
}
