import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Runs the lines as a program of its own that has its locks in `cache`, and gives what it prints. */
async function program(cache: string, lines: string): Promise<string> {
  const text = `const { allGuestSlots, guestSlot } = await import(${JSON.stringify(join(import.meta.dir, "schedule.ts"))});
const { tryLock } = await import(${JSON.stringify(join(import.meta.dir, "cache.ts"))});
${lines}`;
  const child = Bun.spawn([process.execPath, "-e", text], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, LATCHKEY_CACHE: cache, LATCHKEY_VM_GUESTS: "2" },
  });
  const output = await child.stdout.text();
  expect(await child.exited).toBe(0);
  return output.trim();
}

test("who keeps all slots runs its own guests, as many as otherwise, and nobody else's", async () => {
  const cache = mkdtempSync(join(tmpdir(), "latchkey-slots-"));
  try {
    const output = await program(
      cache,
      `
const all = await allGuestSlots(1000);
const others = () => tryLock("guest-slot-0") === undefined && tryLock("guest-slot-1") === undefined;
console.log("kept from others", others());
const first = await guestSlot(256);
const second = await guestSlot(256);
const third = guestSlot(256);
console.log("third at once", await Promise.race([third.then(() => true), Bun.sleep(300).then(() => false)]));
second[Symbol.dispose]();
const last = await third;
console.log("third later", true);
last[Symbol.dispose]();
first[Symbol.dispose]();
all[Symbol.dispose]();
console.log("given back", !others());
`,
    );
    expect(output.split("\n")).toEqual([
      "kept from others true",
      "third at once false",
      "third later true",
      "given back true",
    ]);
  } finally {
    rmSync(cache, { recursive: true, force: true });
  }
});

test("while another's guest runs, not all slots are to be had", async () => {
  const cache = mkdtempSync(join(tmpdir(), "latchkey-slots-"));
  try {
    const output = await program(
      cache,
      `
const other = tryLock("guest-slot-1");
console.log(await allGuestSlots(300).then(() => "had", (thrown) => thrown.message));
other[Symbol.dispose]();
using all = await allGuestSlots(300);
console.log("then they are");
`,
    );
    expect(output.split("\n")).toEqual(["lock guest-slot-1: another process has held it for 0.3 s", "then they are"]);
  } finally {
    rmSync(cache, { recursive: true, force: true });
  }
});
