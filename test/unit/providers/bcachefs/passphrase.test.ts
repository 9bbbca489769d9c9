import { describe, expect, test } from "bun:test";
import { oddityOf } from "../../../../src/providers/bcachefs/passphrase.ts";
import { withoutTrailingNewlines } from "../../../../src/system/secret-input.ts";
import { manifest, secretOf } from "./fixtures.ts";

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

describe("a passphrase from a file", () => {
  test.each(manifest.passphrase_input)("$bytes_hex is cut as bcachefs-tools 1.39.2 cut it", (row) => {
    using content = secretOf(Uint8Array.fromHex(row.bytes_hex));
    const cut = text(withoutTrailingNewlines(content).bytes);
    // What 1.39.2 refuses (a NUL) we take as it is; 1.13 stopped at the NUL.
    expect(cut).toBe(row.file_1_39_2 ?? text(Uint8Array.fromHex(row.bytes_hex)));
  });

  test("1.13 differs where there are two trailing line feeds or a NUL, and nowhere else", () => {
    const differing = manifest.passphrase_input.filter(({ file_1_13, file_1_39_2 }) => file_1_13 !== file_1_39_2);
    expect(differing.map(({ bytes_hex }) => bytes_hex)).toEqual(["70770a0a", "70770078"]);
  });

  test("what is cut off is wiped", () => {
    using content = secretOf("pw\n\n\n");
    const whole = content.bytes;
    withoutTrailingNewlines(content);
    expect([...whole]).toEqual([0x70, 0x77, 0, 0, 0]);
  });

  test("only line feeds leave the empty passphrase, which is allowed", () => {
    using content = secretOf("\n\n");
    expect(withoutTrailingNewlines(content).length).toBe(0);
  });
});

describe("what makes a passphrase odd", () => {
  test.each([
    ["pw", undefined],
    ["", undefined],
    [" spaces count ", undefined],
    ["pâsswörd-日本語-🔑", undefined],
    ["pw\r", "carriage return"],
    ["pw\n", "line feed"],
    ["p\0w", "NUL"],
    [Uint8Array.of(0xff, 0x41), "not UTF-8"],
  ])("%p: %p", (content, words) => {
    using passphrase = secretOf(content);
    if (words === undefined) expect(oddityOf(passphrase)).toBeUndefined();
    else expect(oddityOf(passphrase)).toContain(words);
  });
});
