import { describe, expect, test } from "bun:test";
import { gatherSource, type SourceMeans } from "../../../../src/commands/check/gather-sources.ts";
import { proveStickKey } from "../../../../src/commands/check/prove-stick.ts";
import type { SourcePlan } from "../../../../src/config/plan.ts";
import type { Provider } from "../../../../src/providers/provider.ts";
import type { FoundToken } from "../../../../src/sources/clevis/token-file.ts";
import type { KeyReader } from "../../../../src/sources/usb/key-reader.ts";
import type { Stick } from "../../../../src/sources/usb/sticks.ts";
import { Files } from "../../../../src/stacks/files.ts";
import { SystemBlockDevices } from "../../../../src/system/block-devices.ts";
import { monotonicClock } from "../../../../src/system/clock.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { tokenText } from "../../sources/clevis/fixtures.ts";
import { FakeMachine, failed } from "../../stacks/fake-machine.ts";
import { plan } from "./facts.ts";

const signal = new AbortController().signal;

function means(more: Partial<SourceMeans> = {}): SourceMeans {
  return {
    clock: monotonicClock,
    files: new Files("/nonexistent"),
    devices: new SystemBlockDevices({ dev: "/nonexistent", sys: "/nonexistent" }),
    look: () => undefined,
    readToken: (origin): FoundToken => {
      throw new LatchkeyError("token/unreadable", `there is no token ${origin}`);
    },
    readiness: () => ({
      tpm: () => {
        throw new LatchkeyError("tpm2/absent", "there is no TPM");
      },
      http: () => () => Promise.reject(new RangeError("nobody is asked")),
      hasClevisPin: () => false,
      latch: undefined,
      [Symbol.asyncDispose]: async () => undefined,
    }),
    ...more,
  };
}

const look = async (source: SourcePlan, more: Partial<SourceMeans> = {}, provider?: Provider) =>
  await gatherSource(source, plan, provider, means(more), signal);

describe("tokens", () => {
  const clevis = { kind: "clevis", timeout: 1 } as const;

  test("are read where the configuration says, or at the usual place", async () => {
    const read: string[] = [];
    const readToken = (origin: string): FoundToken => {
      read.push(origin);
      return { origin, text: tokenText("tokens/null-basic.jwe") };
    };
    const found = await look(clevis, { readToken });
    await look({ ...clevis, token: "/t.jwe" }, { readToken });
    expect(read).toEqual(["/etc/latchkey/root.jwe", "/t.jwe"]);
    expect(found).toMatchObject({ tokens: { value: [{ origin: read[0], readiness: { value: { opens: "yes" } } }] } });
  });

  test("that are not there are found missing", async () => {
    expect(await look(clevis)).toMatchObject({ tokens: { error: { code: "token/unreadable" } } });
  });

  test("are taken from the header; one that is broken takes nothing from the others", async () => {
    const tokens = [
      { origin: "token 0", text: "rubbish" },
      { origin: "token 1", text: tokenText("tokens/tpm2-nopcr-ecc.jwe") },
    ];
    const provider: Provider = {
      kind: "luks",
      find: () => Promise.reject(new RangeError("it was found before")),
      headerTokens: async () => tokens,
    };
    expect(await look({ ...clevis, inHeader: "required" }, {}, provider)).toMatchObject({
      tokens: {
        value: [
          { origin: "token 0", readiness: { error: { code: "token/malformed" } } },
          { origin: "token 1", readiness: { value: { opens: "no", reason: "there is no TPM" } } },
        ],
      },
    });
  });
});

describe("a stick", () => {
  const usb: SourcePlan = {
    kind: "usb",
    place: { by: "filesystem", uuid: "4f2a-99c1", path: "root.key" },
    sha256: "00",
    anyBus: false,
    timeout: 1,
  };

  test("is found by udev's link, in whatever case the configuration has its UUID", async () => {
    const devices = new SystemBlockDevices({ dev: "/nonexistent", sys: "/nonexistent" });
    devices.resolve = async (reference) =>
      reference.by === "tag" && reference.value === "4F2A-99C1" ? "/dev/sdb1" : undefined;
    const stick = { path: "/dev/sdb1", occurrence: "1", isRemovable: true };
    expect(await look(usb, { devices, look: () => stick })).toMatchObject({
      seen: { value: { path: "/dev/sdb1", isRemovable: true } },
    });
  });

  describe("that is plugged in", () => {
    const devices = new SystemBlockDevices({ dev: "/nonexistent", sys: "/nonexistent" });
    devices.resolve = async () => "/dev/sdb1";
    const stick = { path: "/dev/sdb1", occurrence: "1", isRemovable: true };
    const identity = { filesystems: [{ type: "vfat", uuid: "4F2A-99C1" }] } as const;
    const reader = {
      identify: async () => identity,
      read: async () => SecretBytes.take(new TextEncoder().encode("the key")),
    };
    const right = new Bun.CryptoHasher("sha256").update("the key").digest("hex");
    const seen = async (sha256: string, look: Stick, identify: KeyReader["identify"] = reader.identify) =>
      await gatherSource(
        { ...usb, sha256 },
        plan,
        undefined,
        means({
          devices,
          look: () => look,
          proveStick: (...about) => proveStickKey(about[0], about[1], { ...reader, identify }, about[2]),
        }),
        signal,
      );

    test("has its key read and compared", async () => {
      expect(await seen(right, stick)).toMatchObject({ seen: { value: { key: { value: "right" } } } });
      expect(await seen("0".repeat(64), stick)).toMatchObject({
        seen: { value: { key: { error: { code: "usb/checksum-mismatch" } } } },
      });
    });

    test("is read only where it is a stick, and says itself that it is the one", async () => {
      const disk = await seen(right, { ...stick, isRemovable: false });
      expect(disk).toMatchObject({ seen: { value: { path: "/dev/sdb1", isRemovable: false } } });
      expect(JSON.stringify(disk)).not.toContain('"key":');
      const another = async () => ({ filesystems: [{ type: "vfat", uuid: "0000-0001" }] as const });
      expect(await seen(right, stick, another)).toMatchObject({
        seen: { value: { key: { error: { code: "usb/absent" } } } },
      });
    });
  });

  test("that is not plugged in is no error", async () => {
    expect(await look(usb)).toMatchObject({ seen: { value: undefined } });
  });
});

test("a key file is looked at, and not read", async () => {
  using machine = new FakeMachine(async () => failed(1));
  machine.put("/k", "secret", 0o644);
  const { files } = machine;
  const file = async (path: string) => await look({ kind: "keyfile", path }, { files });
  expect(await file("/k")).toMatchObject({ file: { value: { isThere: true, isOpenToOthers: true } } });
  machine.put("/k", "secret", 0o400);
  expect(await file("/k")).toMatchObject({ file: { value: { isThere: true, isOpenToOthers: false } } });
  expect(await file("/none")).toMatchObject({ file: { value: { isThere: false } } });
});
