import type { FileHandle } from "node:fs/promises";
import type { Form } from "./encodings.ts";

/** A piece of a secret in a file, as long as it goes. */
export interface Piece {
  readonly form: Form;
  /** Where in the file. */
  readonly offset: number;
  /** Which bytes of the form: from, and how many. */
  readonly from: number;
  readonly length: number;
}

interface Candidate {
  readonly form: Form;
  /** Where in the form the word stands, and the anchor that has to be there in full. */
  readonly at: number;
  readonly anchor: number;
}

const CHUNK = 16 * 1024 * 1024;
const WORD = 4;

/** Spreads the words over a table small enough for the processor's first cache (Knuth's multiplicative hash). */
const TABLE_BITS = 16;
const slot = (word: number): number => Math.imul(word, 0x9e3779b1) >>> (32 - TABLE_BITS);

/**
 * Where each form is cut into anchors: one at every `shortest` bytes and one at its end. A surviving piece of twice that
 * length holds an anchor in full wherever it begins, and a piece from the beginning or to the end does from `shortest` on: an allocator
 * writes its own data over the first 16 bytes of what is freed.
 */
function anchors({ bytes, shortest }: Form): readonly number[] {
  const places = new Set<number>([bytes.length - shortest]);
  for (let place = 0; place + shortest <= bytes.length; place += shortest) places.add(place);
  return [...places];
}

/**
 * All words of four bytes that stand at a multiple of four in a file, if an anchor begins at any byte: each anchor gives
 * four of them. So the search looks at every fourth byte only, and once for all forms.
 */
function candidates(forms: readonly Form[]): Map<number, Candidate[]> {
  const byWord = new Map<number, Candidate[]>();
  for (const form of forms) {
    const view = new DataView(form.bytes.buffer, form.bytes.byteOffset, form.bytes.byteLength);
    for (const anchor of anchors(form)) {
      for (let shift = 0; shift < WORD; shift += 1) {
        const word = view.getUint32(anchor + shift, true);
        const list = byWord.get(word) ?? [];
        list.push({ form, at: anchor + shift, anchor });
        byWord.set(word, list);
      }
    }
  }
  return byWord;
}

/** Finds every piece of every form in a file, in one pass. */
export async function scan(file: FileHandle, size: number, forms: readonly Form[]): Promise<readonly Piece[]> {
  const byWord = candidates(forms);
  const table = new Uint8Array(2 ** TABLE_BITS);
  for (const word of byWord.keys()) table[slot(word)] = 1;
  const margin = Math.ceil(Math.max(...forms.map((form) => form.bytes.length)) / WORD) * WORD;
  const buffer = Buffer.alloc(margin + CHUNK + margin);
  const found = new Map<string, Piece>();
  for (let chunk = 0; chunk < size; chunk += CHUNK) {
    const start = Math.max(0, chunk - margin);
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, size - start), start);
    const read = buffer.subarray(0, bytesRead);
    const words = new Uint32Array(buffer.buffer, buffer.byteOffset, Math.floor(bytesRead / WORD));
    const last = Math.min(words.length, (chunk + CHUNK - start) / WORD);
    for (let index = (chunk - start) / WORD; index < last; index += 1) {
      const word = words[index] ?? 0;
      if (table[slot(word)] === 0) continue;
      for (const candidate of byWord.get(word) ?? []) {
        const piece = longest(read, index * WORD - candidate.at, candidate);
        if (piece)
          found.set(`${start + piece.offset} ${piece.form.encoding}`, { ...piece, offset: start + piece.offset });
      }
    }
  }
  return withoutOverlaps([...found.values()]);
}

/** The longest run of bytes around the anchor that agrees with the form, when the form begins at `origin`. */
function longest(read: Uint8Array, origin: number, { form, anchor }: Candidate): Piece | undefined {
  const agrees = (index: number): boolean => {
    const place = origin + index;
    return place >= 0 && place < read.length && read[place] === form.bytes[index];
  };
  for (let index = anchor; index < anchor + form.shortest; index += 1) if (!agrees(index)) return undefined;
  let from = anchor;
  while (from > 0 && agrees(from - 1)) from -= 1;
  let end = anchor + form.shortest;
  while (end < form.bytes.length && agrees(end)) end += 1;
  return { form, offset: origin + from, from, length: end - from };
}

/** One place is reported once: UTF-16 of one byte order is, but for a byte, also UTF-16 of the other. */
function withoutOverlaps(pieces: readonly Piece[]): readonly Piece[] {
  const kept: Piece[] = [];
  for (const piece of [...pieces].sort((a, b) => b.length - a.length)) {
    const overlaps = (other: Piece): boolean =>
      piece.offset < other.offset + other.length && other.offset < piece.offset + piece.length;
    if (!kept.some(overlaps)) kept.push(piece);
  }
  return kept.sort((a, b) => a.offset - b.offset);
}
