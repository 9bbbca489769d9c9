import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LuksPlan } from "../../../../src/config/plan.ts";
import { CryptsetupOpener, NODE_LIMIT } from "../../../../src/providers/luks/cryptsetup-opener.ts";
import { LuksTool } from "../../../../src/providers/luks/luks-tool.ts";
import { SystemMappings } from "../../../../src/providers/luks/mappings.ts";
import type { MappingRequest } from "../../../../src/providers/luks/opener.ts";
import { asLatchkeyError } from "../../../../src/system/errors.ts";
import { HandClock } from "../../unlock/fakes.ts";
import { uuidOf } from "./fixtures.ts";
import { credentialOf, StubCryptsetup } from "./machine.ts";

const never = new AbortController().signal;

function request(settings: Partial<LuksPlan> = {}): MappingRequest {
  return {
    name: "cryptroot",
    uuid: uuidOf.pbkdf2,
    device: "/dev/vda2",
    settings: { allowDiscards: false, readOnly: false, openOptions: [], opener: "latchkey", ...settings },
  };
}

function scene() {
  const stub = new StubCryptsetup();
  const clock = new HandClock();
  const state = { node: true, mapping: undefined as string | undefined };
  const opener = new CryptsetupOpener({
    tool: new LuksTool(stub.run),
    mappings: { find: () => Promise.resolve(state.mapping) },
    clock,
    hasNode: () => Promise.resolve(state.node),
  });
  const passphrase = credentialOf("right").secret;
  return { stub, clock, opener, state, key: { passphrase } };
}

const reasonOf = async (promise: Promise<unknown>): Promise<string> => {
  const error = asLatchkeyError(await promise.then(() => "none", asLatchkeyError));
  return `${error.code}: ${error.message}`;
};

describe("cryptsetup open", () => {
  test("gets the key by a file in memory, and what crypttab says of the mapping", async () => {
    const { stub, opener, key } = scene();
    const settings = {
      header: "/boot/header.img",
      keySlot: 3,
      allowDiscards: true,
      readOnly: true,
      openOptions: ["--perf-no_read_workqueue"],
    };
    const opened = await opener.open(request(settings), key, never);
    expect(stub.calls).toEqual([
      "open --type luks --header /boot/header.img --allow-discards --readonly --perf-no_read_workqueue --key-slot 3 --key-file /proc/self/fd/3 /dev/vda2 cryptroot < right",
    ]);
    await opened.close();
    expect(stub.calls[1]).toBe("close cryptroot");
  });

  test("takes the volume key that the kernel holds, and no passphrase with it", async () => {
    const { stub, opener, key } = scene();
    await opener.open(request({ keySlot: 3 }), { ...key, volumeKey: "%user:x" }, never);
    expect(stub.calls).toEqual(["open --type luks --volume-key-keyring %user:x /dev/vda2 cryptroot"]);
  });

  test("that finds the volume opened by somebody else leaves it open", async () => {
    const { stub, opener, state, key } = scene();
    stub.answers.set("open", { status: 5, complaint: "Device cryptroot already exists." });
    state.mapping = "cryptroot";
    const opened = await opener.open(request(), key, never);
    await opened.close();
    expect(stub.calls).toHaveLength(1);
  });

  test("that finds the name taken by something else says so", async () => {
    const { stub, opener, state, key } = scene();
    stub.answers.set("open", { status: 5 });
    for (const mapping of [undefined, "other"]) {
      state.mapping = mapping;
      expect(await reasonOf(opener.open(request(), key, never))).toBe(
        "luks/name-taken: cryptroot: there is another mapping of this name",
      );
    }
  });

  test.each([
    [{ status: 2 }, "luks/wrong-passphrase: cryptroot: cryptsetup did not take the key that it had proven right"],
    [{ status: 1, complaint: "x" }, "luks/tool-failed: cryptroot: cryptsetup open on /dev/vda2 failed (status 1): x"],
    [
      { status: 3 },
      "luks/out-of-memory: cryptroot: cryptsetup had too little memory for the key derivation of /dev/vda2",
    ],
    [{ status: 143 }, "luks/tool-failed: cryptroot: cryptsetup open on /dev/vda2 was killed by signal 15"],
  ])("that ends with %p has opened nothing", async (end, text) => {
    const { stub, opener, key } = scene();
    stub.answers.set("open", end);
    expect(await reasonOf(opener.open(request(), key, never))).toBe(text);
  });
});

describe("the node of a mapping", () => {
  test("is waited for", async () => {
    const { opener, clock, state, key } = scene();
    state.node = false;
    const opening = opener.open(request(), key, never);
    await clock.advance(200);
    state.node = true;
    await clock.advance(200);
    expect(await opening).toHaveProperty("close");
  });

  test("that does not come is an error, and the mapping is closed again", async () => {
    const { stub, opener, clock, state, key } = scene();
    state.node = false;
    const opening = reasonOf(opener.open(request(), key, never));
    await clock.advance(NODE_LIMIT + 100);
    expect(await opening).toBe(
      "luks/mapping-missing: cryptroot: cryptsetup opened it, and /dev/mapper/cryptroot did not appear within 10 s",
    );
    expect(stub.calls[1]).toBe("close cryptroot");
  });

  test("is not waited for when the run is over", async () => {
    const { stub, opener, state, key } = scene();
    state.node = false;
    expect(await reasonOf(opener.open(request(), key, AbortSignal.abort()))).toStartWith("unlock/interrupted");
    expect(stub.calls[1]).toBe("close cryptroot");
  });
});

describe("what is mapped now", () => {
  test("is in sysfs", async () => {
    const sys = mkdtempSync(join(tmpdir(), "latchkey-sys-"));
    try {
      const mappings = new SystemMappings(sys);
      expect(await mappings.list()).toEqual([]);
      const files = {
        "block/dm-0/dm/name": "vg-root\n",
        "block/dm-0/dm/uuid": "LVM-abc\n",
        "block/dm-1/dm/name": "cryptroot\n",
        "block/dm-1/dm/uuid": `CRYPT-LUKS2-${uuidOf.pbkdf2.replaceAll("-", "")}-cryptroot\n`,
        "block/vda/size": "1\n",
      };
      for (const [path, text] of Object.entries(files)) {
        mkdirSync(join(sys, path, ".."), { recursive: true });
        writeFileSync(join(sys, path), text);
      }
      expect((await mappings.list()).map(({ name }) => name).sort()).toEqual(["cryptroot", "vg-root"]);
      expect(await mappings.find(uuidOf.pbkdf2)).toBe("cryptroot");
      expect(await mappings.find(uuidOf.luks1)).toBeUndefined();
    } finally {
      rmSync(sys, { recursive: true });
    }
  });
});
