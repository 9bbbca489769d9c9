import { type FileHandle, open } from "node:fs/promises";
import { formsOf, SHORTEST_PIECE } from "./encodings.ts";
import type { Machine } from "./machine.ts";
import { type Piece, scan } from "./memory-scan.ts";

/** A copy, or part of a copy, of a secret in a guest's memory. */
export interface Finding {
  readonly name: string;
  readonly encoding: string;
  /** Physical address in the guest. */
  readonly offset: number;
  /** The whole secret is there, not a piece of it. */
  readonly isWhole: boolean;
  /** Bytes of this form that are there, of how many. */
  readonly length: number;
  readonly of: number;
  /** What stands around it, printable and with the secret blotted out: says whose memory it was. */
  readonly context: string;
}

const CONTEXT_BYTES = 64;

/**
 * Searches a guest's memory for a secret in every form, whole or in pieces of twelve bytes and more. Takes the machine, which is
 * stopped and saved, or a file from `machine.saveMemory()` to search the same memory for several secrets.
 *
 * A search that cannot find is worse than none: with a machine, the random
 * words on its kernel command line have to turn up too.
 */
export async function findInMemory(
  memory: Machine | string,
  secret: Uint8Array,
  name: string,
): Promise<readonly Finding[]> {
  if (secret.length < SHORTEST_PIECE) throw new Error(`${name} is too short to be told from chance`);
  if (typeof memory === "string") return search(memory, secret, name);
  const file = await memory.saveMemory();
  const proof = await search(file, new TextEncoder().encode(memory.proof), "proof");
  if (proof.length === 0) throw new Error(`the saved memory of ${memory.name} is not that of a running Linux`);
  return search(file, secret, name);
}

async function search(path: string, secret: Uint8Array, name: string): Promise<readonly Finding[]> {
  await using file = await open(path, "r");
  const { size } = await file.stat();
  const pieces = await scan(file, size, formsOf(secret));
  return Promise.all(pieces.map(async (piece) => finding(name, piece, await context(file, size, piece, pieces))));
}

function finding(name: string, { form, offset, length }: Piece, context: string): Finding {
  const of = form.bytes.length;
  return { name, encoding: form.encoding, offset, isWhole: length === of, length, of, context };
}

async function context(file: FileHandle, size: number, piece: Piece, pieces: readonly Piece[]): Promise<string> {
  const start = Math.max(0, piece.offset - CONTEXT_BYTES);
  const bytes = Buffer.alloc(Math.min(size, piece.offset + piece.length + CONTEXT_BYTES) - start);
  await file.read(bytes, 0, bytes.length, start);
  return Array.from(bytes, (byte, index) => {
    const place = start + index;
    if (pieces.some(({ offset, length }) => place >= offset && place < offset + length)) return "█";
    return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·";
  }).join("");
}

/** The findings as lines for a person. */
export function describeFindings(findings: readonly Finding[]): string {
  return findings
    .map(({ name, encoding, offset, isWhole, length, of, context }) => {
      const extent = isWhole ? "whole" : `${length} of ${of} bytes`;
      return `${name} at 0x${offset.toString(16)}, ${encoding}, ${extent}: ${context}`;
    })
    .join("\n");
}
