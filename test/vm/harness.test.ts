/** The parts of the harness that need no machine. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Console } from "./console.ts";
import { noteEmulatorFault, sawEmulatorFault } from "./emulator-fault.ts";
import { formsOf } from "./encodings.ts";
import { overlay } from "./files.ts";
import { mirrorFrom } from "./guest/debian-mirror.ts";
import { findInMemory } from "./memory.ts";
import { guestsAtOnce } from "./schedule.ts";
import { TerminalText } from "./terminal-text.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const directory = mkdtempSync(join(tmpdir(), "latchkey-harness-"));
afterAll(() => rmSync(directory, { recursive: true }));

/**
 * Memory of random content with these pieces in it. No zeros beside them: one before UTF-16LE makes it UTF-16BE, which would be found too,
 * and rightly.
 */
async function memoryWith(size: number, pieces: readonly (readonly [number, Uint8Array])[]): Promise<string> {
  const memory = Buffer.alloc(size);
  for (let start = 0; start < size; start += 65536) crypto.getRandomValues(memory.subarray(start, start + 65536));
  for (let place = memory.indexOf(0); place !== -1; place = memory.indexOf(0, place)) memory[place] = 0xff;
  for (const [offset, piece] of pieces) memory.set(piece, offset);
  const file = join(directory, crypto.randomUUID());
  await Bun.write(file, memory);
  return file;
}

const MEGABYTE = 1024 * 1024;
const secret = bytes('Wächter "7" & Öl/+ of the seven seas');

describe("the memory search", () => {
  test("finds every form at every alignment, and nothing more", async () => {
    const forms = formsOf(secret);
    expect(forms.length).toBeGreaterThan(18);
    const places = forms.flatMap((form, index) =>
      [0, 1, 2, 3].map((shift) => ({ form, offset: (index * 4 + shift) * 4096 + shift + 100 })),
    );
    const file = await memoryWith(
      2 * MEGABYTE,
      places.map(({ form, offset }) => [offset, form.bytes]),
    );
    const findings = await findInMemory(file, secret, "secret");
    expect(findings.filter((one) => one.isWhole).map((one) => one.offset)).toEqual(places.map((place) => place.offset));
  });

  test("finds copies at both ends and across the pieces in which the memory is read", async () => {
    const size = 33 * MEGABYTE;
    const places = [0, 16 * MEGABYTE - 5, 32 * MEGABYTE - 1, size - secret.length];
    const file = await memoryWith(
      size,
      places.map((place) => [place, secret]),
    );
    expect((await findInMemory(file, secret, "secret")).map((one) => one.offset)).toEqual(places);
  });

  test("finds what is left of a copy whose beginning or end was overwritten", async () => {
    const file = await memoryWith(MEGABYTE, [
      [1001, secret.subarray(0, 13)],
      [5002, secret.subarray(secret.length - 13)],
      [9003, secret.subarray(5, 5 + 24)],
    ]);
    const findings = await findInMemory(file, secret, "secret");
    expect(findings.map(({ offset, length, isWhole }) => ({ offset, length, isWhole }))).toEqual([
      { offset: 1001, length: 13, isWhole: false },
      { offset: 5002, length: 13, isWhole: false },
      { offset: 9003, length: 24, isWhole: false },
    ]);
  });

  test("finds nothing in random bytes, and blots the secret out of what it shows", async () => {
    expect(await findInMemory(await memoryWith(MEGABYTE, []), secret, "secret")).toEqual([]);
    const plain = bytes("nothing to see but these words");
    const file = await memoryWith(MEGABYTE, [[500, Buffer.concat([bytes("before "), plain, bytes(" after")])]]);
    const [finding] = await findInMemory(file, plain, "secret");
    expect(finding?.context).toContain(`before ${"█".repeat(plain.length)} after`);
  });

  test("refuses a secret that chance could produce", async () => {
    await expect(findInMemory("/nonexistent", bytes("short"), "secret")).rejects.toThrow("too short");
  });
});

describe("the console", () => {
  test("is plain text, however the bytes are cut", () => {
    const raw = bytes(
      "\u001b[0;1;39mPassphrase\u001b[0m:\r\n\u001b]3008;x=y\u001b\\\u001b[!p\u001b[?7l🔐 end\u001b[6n",
    );
    for (let cut = 0; cut <= raw.length; cut += 1) {
      const terminal = new TerminalText();
      expect(terminal.add(raw.subarray(0, cut)) + terminal.add(raw.subarray(cut))).toBe("Passphrase:\n🔐 end");
    }
  });

  test("matches an unfinished line, sees nothing twice, and stops at what is fatal", async () => {
    const console = new Console();
    console.feed(bytes("one\nPassphrase: "));
    expect((await console.expect(/Pass(\w+):/)).match[1]).toBe("phrase");
    await expect(console.expect("Passphrase", { within: 20 })).rejects.toThrow("did not come within 0.02 s");
    setTimeout(() => console.feed(bytes("Kernel panic - not syncing: no init\n")), 10);
    await expect(console.expect("root")).rejects.toThrow("will not come");
  });
});

test.skipIf(!Bun.which("cpio"))(
  "an overlay is a cpio that cpio(1) reads, with the directories that its files need",
  () => {
    const archive = Bun.zstdDecompressSync(
      overlay({
        "/usr/bin/odd": { content: "12345", mode: 0o755 },
        "/etc/link": { link: "/usr/bin/odd" },
        "/etc/a": "",
      }),
    );
    const { stdout } = Bun.spawnSync(["cpio", "--list", "--verbose", "--numeric-uid-gid"], { stdin: archive });
    const lines = stdout.toString().trim().split("\n");
    expect(lines.map((line) => line.replace(/\s+/g, " ").replace(/ Jan.*?1970 /, " "))).toEqual([
      "drwxr-xr-x 1 0 0 0 etc",
      "-rw-r--r-- 1 0 0 0 etc/a",
      "lrwxrwxrwx 1 0 0 12 etc/link -> /usr/bin/odd",
      "drwxr-xr-x 1 0 0 0 usr",
      "drwxr-xr-x 1 0 0 0 usr/bin",
      "-rwxr-xr-x 1 0 0 5 usr/bin/odd",
    ]);
  },
);

test.each([
  ["deb http://deb.example.org/debian bookworm main", "http://deb.example.org/debian"],
  ["deb [arch=amd64 signed-by=/k] https://mirror.example/debian/ trixie main", "https://mirror.example/debian"],
  ["Types: deb\nURIs: http://deb.example.org/debian\nSuites: trixie\n", "http://deb.example.org/debian"],
  [
    "deb http://a.example/archive/debian/20260101T000000Z/ trixie main",
    "http://a.example/archive/debian/20260101T000000Z",
  ],
  ["deb http://security.example/debian-security trixie-security main", undefined],
  ["# deb http://deb.example.org/debian trixie main\ndeb http://archive.example/ubuntu noble main", undefined],
])("the mirror in %j", (text, mirror) => {
  expect(mirrorFrom([text])).toBe(mirror);
});

test.each([
  [1024, 8000, 1, 1],
  [1024, 8000, 2, 2],
  [1024, 2000, 2, 1],
  [1024, 500, 2, 1],
  [1024, 64000, 16, 8],
])("guests of %d MB with %d MB free and %d cores", (memory, free, cores, guests) => {
  expect(guestsAtOnce(memory, free, cores)).toBe(guests);
});

describe("faults of the emulator", () => {
  const panic = "[    2.977805] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\n[    4.252] Kernel panic - not syncing\n";

  test("are told from other deaths of a guest, once for each case", () => {
    noteEmulatorFault("case-a", panic);
    noteEmulatorFault("case-b", panic.replace("int3: 0000", "0000"));
    expect(sawEmulatorFault("case-b")).toBe(false);
    expect(sawEmulatorFault("case-a")).toBe(true);
    expect(sawEmulatorFault("case-a")).toBe(false);
  });

  test("of a case's second machine are the case's", () => {
    noteEmulatorFault("case-c-after", panic);
    expect(sawEmulatorFault("case-c")).toBe(true);
  });
});
