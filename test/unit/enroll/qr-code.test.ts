import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import jsQR from "jsqr";
import { QR_CAPACITY, QR_SIZE, qrCode, qrText } from "../../../src/enroll/qr-code.ts";
import { newRecoveryKey } from "../../../src/enroll/recovery-key.ts";
import { SecretBytes } from "../../../src/system/secret-bytes.ts";

const QUIET = 4;
/** Pixels for a module. */
const SCALE = 3;

/** What a scanner reads off rows of modules that have light ones around them. */
function scanned(isDark: (row: number, column: number) => boolean, size: number): string | undefined {
  const side = size * SCALE;
  const pixels = new Uint8ClampedArray(side * side * 4).fill(255);
  for (let y = 0; y < side; y += 1) {
    for (let x = 0; x < side; x += 1) {
      if (isDark(Math.floor(y / SCALE), Math.floor(x / SCALE)))
        pixels.fill(0, (y * side + x) * 4, (y * side + x) * 4 + 3);
    }
  }
  return jsQR(pixels, side, side, { inversionAttempts: "dontInvert" })?.data;
}

function scannedModules(modules: SecretBytes): string | undefined {
  const size = QR_SIZE + 2 * QUIET;
  return scanned((row, column) => {
    const [r, c] = [row - QUIET, column - QUIET];
    return r >= 0 && c >= 0 && r < QR_SIZE && c < QR_SIZE && modules.bytes[r * QR_SIZE + c] === 1;
  }, size);
}

const secretOf = (text: string): SecretBytes => SecretBytes.take(new TextEncoder().encode(text));

describe("a QR code", () => {
  test("of any ASCII text that fits is read back by a scanner", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: QR_CAPACITY }), (text) => {
        using secret = secretOf(text);
        using modules = qrCode(secret);
        expect(scannedModules(modules)).toBe(text);
      }),
      { numRuns: 60 },
    );
  });

  test("of a recovery key is read back, as modules and as the characters on the terminal", () => {
    for (let run = 0; run < 40; run += 1) {
      using key = newRecoveryKey();
      const wanted = Buffer.from(key.bytes).toString();
      using modules = qrCode(key);
      expect(scannedModules(modules)).toBe(wanted);
      using text = qrText(modules);
      const lines = Buffer.from(text.bytes)
        .toString()
        .replaceAll(new RegExp(`${String.fromCharCode(27)}\\[[\\d;]*m`, "g"), "")
        .split("\r\n");
      const isDark = (row: number, column: number): boolean => {
        const character = lines[row >> 1]?.[column] ?? " ";
        return (row % 2 === 0 ? "▀█" : "▄█").includes(character);
      };
      expect(scanned(isDark, QR_SIZE + 2 * QUIET)).toBe(wanted);
      expect(lines.length).toBe(22);
    }
  });

  test("refuses a text that does not fit, with nothing of it in the message", () => {
    using secret = secretOf("x".repeat(QR_CAPACITY + 1));
    expect(() => qrCode(secret)).toThrow(/^a text of 79 bytes does not fit this QR code$/);
  });
});
