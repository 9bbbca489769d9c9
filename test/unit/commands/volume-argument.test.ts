import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { planFor } from "../../../src/commands/volume-argument.ts";
import { planOf } from "../config/machine.ts";
import { headerBytes, uuidOf } from "../providers/luks/fixtures.ts";

/** A volume at a file with these bytes, beside a crypttab. */
function volumeAt(bytes: Uint8Array, crypttab = "") {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-argument-"));
  try {
    const path = join(folder, "disk.img");
    writeFileSync(path, bytes);
    return planFor(path, planOf({ crypttab: crypttab.replace("PATH", path) })).volumes[0];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The first copy of a LUKS2 header is gone. */
const halfGone = headerBytes("pbkdf2").fill(0, 0, 0x4000);

describe("a device that is named by hand", () => {
  test.each([
    ["LUKS1", headerBytes("luks1"), "luks"],
    ["LUKS2", headerBytes("argon2id"), "luks"],
    ["LUKS2 by the second copy of its header", halfGone, "luks"],
    ["something else, which a bcachefs may be", new Uint8Array(65536), "bcachefs"],
    ["nothing at all", new Uint8Array(0), "bcachefs"],
  ])("is %s", (_, bytes, kind) => {
    expect(volumeAt(bytes)).toMatchObject({ kind, requireEncrypted: false });
  });

  test("that is not there may be a bcachefs by another path", () => {
    expect(planFor("/nowhere/x", planOf({})).volumes).toMatchObject([{ kind: "bcachefs" }]);
    expect(planFor("/dev/null", planOf({})).volumes).toMatchObject([{ kind: "bcachefs" }]);
  });

  test("gets a mapping by its UUID, and its tokens are looked for", () => {
    const volume = volumeAt(headerBytes("pbkdf2"));
    expect(volume?.luks).toMatchObject({ isUnnamed: true, opener: "latchkey" });
    expect(volume?.sources.map(({ kind }) => kind)).toEqual(["clevis", "prompt"]);
  });

  test.each([
    ["its UUID", `data UUID=${uuidOf.pbkdf2} none luks,discard`],
    ["its path", "data PATH none luks,discard"],
  ])("gets the name and options that crypttab has for %s", (_, crypttab) => {
    expect(volumeAt(headerBytes("pbkdf2"), crypttab)?.luks).toMatchObject({ mapping: "data", allowDiscards: true });
    expect(volumeAt(halfGone, crypttab)?.luks).toMatchObject({ mapping: "data" });
  });
});
