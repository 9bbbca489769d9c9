import { SecretBytes } from "../system/secret-bytes.ts";

/**
 * A QR code (ISO/IEC 18004) of the one shape a recovery key needs: version 4, error correction level L, byte mode, one block.
 * Our own, because every library takes the text as a JavaScript string or leaves its work in plain arrays: copies of the key
 * that nobody can wipe. Here whatever depends on the text is in secret bytes.
 */
const VERSION = 4;
export const QR_SIZE = 17 + 4 * VERSION;

/** Table 9: 100 codewords, 20 of them for error correction. */
const DATA_CODEWORDS = 80;
const CORRECTION_CODEWORDS = 20;
/** Half an octet for the mode, one for the length, half for the terminator. */
export const QR_CAPACITY = DATA_CODEWORDS - 2;

const BYTE_MODE = 0b0100;
/** Section 7.4.10. */
const PADDING = [0xec, 0x11] as const;
/** The one alignment pattern of version 4 that no finder covers, Annex E. */
const ALIGNMENT_CENTRE = 26;
const TIMING = 6;
const FINDER_WITH_BORDER = 8;

/**
 * Level L (01) and mask 000, with their BCH code and mask (Annex C): the mask that turns every other module. An encoder is to
 * choose the mask that scans best; on random letters they are alike, and test/unit/enroll/qr-code.test.ts reads many back.
 */
const FORMAT_BITS = 0b111011111000100;

/** @returns QR_SIZE rows of QR_SIZE modules, 1 for dark */
export function qrCode(text: SecretBytes): SecretBytes {
  if (text.length > QR_CAPACITY) throw new RangeError(`a text of ${text.length} bytes does not fit this QR code`);
  using codewords = SecretBytes.allocate(DATA_CODEWORDS + CORRECTION_CODEWORDS);
  fillData(codewords.bytes.subarray(0, DATA_CODEWORDS), text.bytes);
  fillCorrection(codewords.bytes);
  const modules = SecretBytes.allocate(QR_SIZE * QR_SIZE);
  drawPatterns(modules.bytes);
  drawCodewords(modules.bytes, codewords.bytes);
  return modules;
}

/** Mode and length take one and a half octets, so that everything after them is shifted by half an octet. */
function fillData(data: Uint8Array, text: Uint8Array): void {
  data[0] = (BYTE_MODE << 4) | (text.length >> 4);
  data[1] = (text.length & 0xf) << 4;
  for (const [index, byte] of text.entries()) {
    data[index + 1] = (data[index + 1] ?? 0) | (byte >> 4);
    data[index + 2] = (byte & 0xf) << 4; // after the last one these four zeros are the terminator
  }
  for (let index = text.length + 2; index < data.length; index += 1)
    data[index] = PADDING[(index - text.length) % 2] ?? 0;
}

/** Multiplication in GF(256) modulo x⁸+x⁴+x³+x²+1, section 7.5.2. */
function multiply(a: number, b: number): number {
  let product = 0;
  for (let bit = 7; bit >= 0; bit -= 1) {
    product = (product << 1) ^ ((product >> 7) * 0x11d);
    product ^= ((b >> bit) & 1) * a;
  }
  return product;
}

/** (x−1)(x−α)…(x−α¹⁹) without its first coefficient, which is 1: Annex A. */
const generator = ((): readonly number[] => {
  const coefficients = new Array<number>(CORRECTION_CODEWORDS).fill(0);
  coefficients[CORRECTION_CODEWORDS - 1] = 1;
  let root = 1;
  for (let factor = 0; factor < CORRECTION_CODEWORDS; factor += 1) {
    for (let index = 0; index < CORRECTION_CODEWORDS; index += 1) {
      coefficients[index] = multiply(coefficients[index] ?? 0, root) ^ (coefficients[index + 1] ?? 0);
    }
    root = multiply(root, 2);
  }
  return coefficients;
})();

/** The remainder of the data divided by the generator (Reed and Solomon), right behind the data. */
function fillCorrection(codewords: Uint8Array): void {
  const remainder = codewords.subarray(DATA_CODEWORDS);
  for (let index = 0; index < DATA_CODEWORDS; index += 1) {
    const factor = (codewords[index] ?? 0) ^ (remainder[0] ?? 0);
    remainder.copyWithin(0, 1);
    remainder[CORRECTION_CODEWORDS - 1] = 0;
    for (let place = 0; place < CORRECTION_CODEWORDS; place += 1) {
      remainder[place] = (remainder[place] ?? 0) ^ multiply(generator[place] ?? 0, factor);
    }
  }
}

/** Modules that are the same in every code of this shape. */
function isPattern(row: number, column: number): boolean {
  const far = QR_SIZE - FINDER_WITH_BORDER;
  if (row === TIMING || column === TIMING) return true;
  // The finders with their borders, and the format information around them.
  if (row <= FINDER_WITH_BORDER && (column <= FINDER_WITH_BORDER || column >= far)) return true;
  if (row >= far && column <= FINDER_WITH_BORDER) return true;
  return Math.max(Math.abs(row - ALIGNMENT_CENTRE), Math.abs(column - ALIGNMENT_CENTRE)) <= 2;
}

function drawPatterns(modules: Uint8Array): void {
  const set = (row: number, column: number, isDark: boolean): void => {
    modules[row * QR_SIZE + column] = isDark ? 1 : 0;
  };
  for (let place = FINDER_WITH_BORDER; place < QR_SIZE - FINDER_WITH_BORDER; place += 1) {
    set(TIMING, place, place % 2 === 0);
    set(place, TIMING, place % 2 === 0);
  }
  /** Squares inside each other, seen from the centre: dark, but for the ring at `light`. */
  const squares = (centreRow: number, centreColumn: number, reach: number, light: number): void => {
    for (let row = -reach; row <= reach; row += 1) {
      for (let column = -reach; column <= reach; column += 1) {
        set(centreRow + row, centreColumn + column, Math.max(Math.abs(row), Math.abs(column)) !== light);
      }
    }
  };
  squares(3, 3, 3, 2);
  squares(3, QR_SIZE - 4, 3, 2);
  squares(QR_SIZE - 4, 3, 3, 2);
  squares(ALIGNMENT_CENTRE, ALIGNMENT_CENTRE, 2, 1);
  // Format information twice, section 7.9.1, and the module that is always dark.
  for (let bit = 0; bit < 15; bit += 1) {
    const isDark = ((FORMAT_BITS >> bit) & 1) === 1;
    const near = bit < 6 ? bit : bit < 8 ? bit + 1 : QR_SIZE - 15 + bit;
    set(near, 8, isDark);
    const along = bit < 8 ? QR_SIZE - 1 - bit : bit < 9 ? 15 - bit : 14 - bit;
    set(8, along, isDark);
  }
  set(QR_SIZE - 8, 8, true);
}

/** Two columns at a time from the right, upwards and downwards in turn, around the vertical timing pattern (section 7.7.3). */
function drawCodewords(modules: Uint8Array, codewords: Uint8Array): void {
  let bit = 0;
  let isUpwards = true;
  for (let right = QR_SIZE - 1; right > 0; right -= 2) {
    if (right === TIMING) right -= 1;
    for (let step = 0; step < QR_SIZE; step += 1) {
      const row = isUpwards ? QR_SIZE - 1 - step : step;
      for (const column of [right, right - 1]) {
        if (isPattern(row, column)) continue;
        const value = bit < codewords.length * 8 ? ((codewords[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1 : 0;
        bit += 1;
        modules[row * QR_SIZE + column] = value ^ ((row + column) % 2 === 0 ? 1 : 0);
      }
    }
    isUpwards = !isUpwards;
  }
}

/** Light modules around the code, section 5.3.8. */
const QUIET = 4;
/** Black on white, whatever colours the terminal has: a scanner may not take the reverse. */
const COLOURS = new TextEncoder().encode("\x1b[30;47m");
const LINE_END = new TextEncoder().encode("\x1b[0m\r\n");
/** Two modules above each other in one character. By upper + 2 · lower. */
const BLOCKS = [" ", "▀", "▄", "█"].map((block) => new TextEncoder().encode(block));

/** The code for a terminal of 41 columns, 21 lines in UTF-8. */
export function qrText(modules: SecretBytes): SecretBytes {
  const side = QR_SIZE + 2 * QUIET;
  const rows = Math.ceil(side / 2);
  const text = SecretBytes.allocate(rows * (COLOURS.length + side * 3 + LINE_END.length));
  const dark = (row: number, column: number): number => {
    const isInside = [row, column].every((place) => place >= QUIET && place < QUIET + QR_SIZE);
    return isInside ? (modules.bytes[(row - QUIET) * QR_SIZE + column - QUIET] ?? 0) : 0;
  };
  let at = 0;
  const put = (bytes: Uint8Array | undefined): void => {
    if (!bytes) return;
    text.bytes.set(bytes, at);
    at += bytes.length;
  };
  for (let row = 0; row < side; row += 2) {
    put(COLOURS);
    for (let column = 0; column < side; column += 1) put(BLOCKS[dark(row, column) + 2 * dark(row + 1, column)]);
    put(LINE_END);
  }
  return text.truncate(at);
}
