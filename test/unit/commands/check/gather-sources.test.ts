import { describe, expect, test } from "bun:test";
import { gatherSource, type SourceMeans } from "../../../../src/commands/check/gather-sources.ts";
import type { SourcePlan } from "../../../../src/config/plan.ts";
import type { Provider } from "../../../../src/providers/provider.ts";
import type { FoundToken } from "../../../../src/sources/clevis/token-file.ts";
import { Files } from "../../../../src/stacks/files.ts";
import { SystemBlockDevices } from "../../../../src/system/block-devices.ts";
import { monotonicClock } from "../../../../src/system/clock.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
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
