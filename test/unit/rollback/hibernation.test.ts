import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { whyResuming } from "../../../src/rollback/hibernation.ts";
import { SystemBlockDevices } from "../../../src/system/block-devices.ts";

const scratch = mkdtempSync(join(tmpdir(), "latchkey-hibernation-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const UUID = "6e8c1f2a-0b3d-4c5e-8f70-123456789abc";

/** A swap whose first page, at an offset in pages, ends with a signature. */
function swap(name: string, signature: string, { page = 4096, offset = 0 } = {}): string {
  const bytes = new Uint8Array((offset + 2) * page);
  bytes.set(new TextEncoder().encode(signature), (offset + 1) * page - 10);
  const path = join(scratch, name);
  writeFileSync(path, bytes);
  return path;
}

const devices = new SystemBlockDevices({ dev: scratch, sys: scratch });
const ask = (kernelCommandLine: string, hasLocation = false) =>
  whyResuming({ kernelCommandLine, hasLocation, devices });

describe("a machine that may be resuming", () => {
  const asleep = swap("asleep", "S1SUSPEND");
  const awake = swap("awake", "SWAPSPACE2");
  mkdirSync(join(scratch, "disk/by-uuid"), { recursive: true });
  symlinkSync(asleep, join(scratch, "disk/by-uuid", UUID));

  test.each([
    ["no resume=", "root=fstab quiet"],
    ["an empty resume=", "resume="],
    ["a swap in use as swap", `resume=${awake}`],
    ["noresume", `resume=${asleep} noresume`],
    ["hibernate=noresume", `resume=${asleep} hibernate=noresume`],
  ])("is none with %s", async (_, line) => {
    expect(await ask(line)).toBeUndefined();
  });

  test.each([
    ["a hibernation image", `resume=${asleep}`, "holds a hibernation image"],
    ["one that a UUID names", `resume=UUID=${UUID}`, "asleep holds a hibernation image"],
    ["the later of two", `resume=${awake} resume=${asleep}`, "holds a hibernation image"],
    ["an image of pages of 16 KiB", `resume=${swap("arm", "S1SUSPEND", { page: 16384 })}`, "holds a hibernation image"],
    ["an image in a swap file", `resume=${swap("file", "S1SUSPEND", { offset: 3 })} resume_offset=3`, "holds a"],
    ["compressed by uswsusp", `resume=${swap("user", "ULSUSPEND")}`, "holds a hibernation image"],
    ["a device that is not there", "resume=/nonexistent/swap", "is not there"],
    ["a UUID that is not there", "resume=UUID=00000000-0000-4000-8000-000000000000", "is not there"],
    ["a number instead of a device", "resume=259:2", "cannot be looked at"],
    ["an offset that is none", `resume=${awake} resume_offset=many`, "is no number"],
    ["a folder", `resume=${scratch}`, "cannot be looked at"],
  ])("is one with %s", async (_, line, why) => {
    expect(await ask(line)).toContain(why);
  });

  test("is one when the firmware says so, unless the owner gives the image up", async () => {
    expect(await ask("quiet", true)).toContain("HibernateLocation");
    expect(await ask("quiet noresume", true)).toBeUndefined();
  });

  test("a device too short for a swap holds no image", async () => {
    writeFileSync(join(scratch, "short"), "S1SUSPEND");
    expect(await ask(`resume=${join(scratch, "short")}`)).toBeUndefined();
  });
});
