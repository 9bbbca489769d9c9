import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Keyring, kernelKeyring } from "../../../../src/keyutils-ffi/keyring.ts";
import type { VolumeKeyring } from "../../../../src/providers/bcachefs/keys.ts";
import { BcachefsProvider, type BcachefsSettings } from "../../../../src/providers/bcachefs/provider.ts";
import type { BcachefsVolume } from "../../../../src/providers/bcachefs/volume.ts";
import { Credential } from "../../../../src/system/credential.ts";
import { contextOf, FakeDevices, FakeKeyring, type FoundContext, volumeOf } from "./fake-machine.ts";
import { failureOf, fixtureBytes, fixtureCase, manifest, rememberingDeriver, secretOf } from "./fixtures.ts";

// A real derivation takes 0.4 s, on a busy machine ten times that.
setDefaultTimeout(120_000);

const signal = new AbortController().signal;
const nowhere = join(tmpdir(), "latchkey-no-such-sysfs");

interface Scene {
  readonly files: readonly string[];
  readonly keyring?: VolumeKeyring;
  readonly settings?: Partial<BcachefsSettings>;
  readonly context?: FoundContext;
}

/** Finds the volume whose devices are these fixtures, as /dev/sd0, /dev/sd1 …, named by the first. */
function found({
  files,
  keyring = new FakeKeyring(),
  settings = {},
  context = contextOf(),
}: Scene): Promise<BcachefsVolume> {
  const devices = new FakeDevices();
  for (const [index, file] of files.entries()) devices.add(`/dev/sd${index}`, fixtureBytes(file));
  const provider = new BcachefsProvider({ devices, keyring, deriver: rememberingDeriver, sys: nowhere, ...settings });
  return provider.find(volumeOf("/dev/sd0"), context);
}

const credentialOf = (passphrase: string): Credential => new Credential(secretOf(passphrase));
const heads = (name: string): readonly string[] => fixtureCase(name).devices.map(({ head }) => head);

describe("file systems made by the real tool", () => {
  const locked = manifest.cases.filter((each) => each.passphrase_needed);

  test.each(locked)(
    "$name: the passphrase is proven, and the payload in the keyring is the real tool's",
    async (each) => {
      const keyring = new FakeKeyring();
      const files = each.devices.map(({ head }) => head);
      const volume = await found({ files, keyring, context: contextOf({ allowDegraded: true }) });
      expect([volume.state, volume.uuid]).toEqual(["closed", each.external_uuid]);
      using credential = credentialOf(each.passphrase ?? "");
      using proven = await volume.prove(credential, signal);
      expect(keyring.calls).toEqual([]);
      const opened = await proven.open();
      const added = {
        keyring: "user" as const,
        description: each.key_description ?? "",
        payload: each.passphrase_key_hex ?? "",
      };
      expect([...keyring.keys.values()]).toEqual([added]);
      await opened.close();
      expect(keyring.keys.size).toBe(0);
    },
  );

  test.each(locked)("$name: wrong passphrases are told as such, and nothing is added", async (each) => {
    const keyring = new FakeKeyring();
    const volume = await found({
      files: each.devices.map(({ head }) => head),
      keyring,
      context: contextOf({ allowDegraded: true }),
    });
    for (const wrong of each.wrong_passphrases ?? []) {
      using credential = credentialOf(wrong);
      const failure = await failureOf(volume.prove(credential, signal));
      expect([failure.code, failure.outcome]).toEqual(["bcachefs/wrong-passphrase", "wrong-credential"]);
      expect(failure.message).toStartWith("root: wrong passphrase for bcachefs ");
      expect(`${failure.message} ${failure.hint}`).not.toContain(wrong);
    }
    expect(keyring.calls).toEqual([]);
  });

  test.each([
    ["plain", "unencrypted", "is not encrypted"],
    ["nopass", "unprotected", "its key lies in clear"],
    ["removed", "unprotected", "its key lies in clear"],
  ] as const)("%s is %s, and there is nothing to prove", async (name, state, words) => {
    const volume = await found({ files: heads(name) });
    expect(volume.state).toBe(state);
    using credential = credentialOf("anything");
    const failure = await failureOf(volume.prove(credential, signal));
    expect(failure.code).toBe("bcachefs/not-encrypted");
    expect(failure.message).toContain(words);
  });
});

describe("damaged file systems", () => {
  test.each(manifest.damaged)("$name: $expect", async (each) => {
    const attempt = async (): Promise<string> => {
      const keyring = new FakeKeyring();
      const volume = await found({ files: [each.file], keyring, context: contextOf({ allowDegraded: true }) });
      using credential = credentialOf(each.passphrase);
      using proven = await volume.prove(credential, signal);
      await proven.open();
      const [key] = keyring.keys.values();
      expect(key?.description).toBe(each.key_description ?? "");
      return key?.payload ?? "";
    };
    if (each.expect === "unlock") {
      expect(await attempt()).toBe(each.passphrase_key_hex ?? "");
    } else {
      const failure = await failureOf(attempt());
      expect(failure.outcome).toBe(each.expect === "reject" ? "failed" : "wrong-credential");
    }
  });
});

describe("a volume", () => {
  test("is described by its label, with its device or their number", async () => {
    const context = contextOf({ allowDegraded: true });
    expect((await found({ files: heads("label") })).description).toBe('bcachefs "latchkey-root" on /dev/sd0');
    expect((await found({ files: heads("multi"), context })).description).toBe("bcachefs (2 devices)");
    expect((await found({ files: heads("multi"), context })).devices).toEqual(["/dev/sd0", "/dev/sd1"]);
  });

  const stale = [...heads("stale-a"), ...heads("stale-b")];

  test("unlocks by its newest member, and tells the earlier passphrase from a mistyped one", async () => {
    const volume = await found({ files: stale });
    using newest = credentialOf("after");
    using _proven = await volume.prove(newest, signal);
    using earlier = credentialOf("before");
    const failure = await failureOf(volume.prove(earlier, signal));
    expect(failure.hint).toBe("this is an earlier passphrase: /dev/sd0 missed the change and still has it");
    using neither = credentialOf("sideways");
    expect((await failureOf(volume.prove(neither, signal))).hint).toBeUndefined();
  });

  test("names what often makes a passphrase wrong", async () => {
    const volume = await found({ files: heads("default") });
    using windows = credentialOf("correct horse battery staple\r");
    expect((await failureOf(volume.prove(windows, signal))).hint).toContain("carriage return");
  });

  test("does not wait for a derivation that nobody wants any longer", async () => {
    const never = { ...rememberingDeriver, derive: () => new Promise<never>(() => undefined) };
    const volume = await found({ files: heads("default"), settings: { deriver: never } });
    const controller = new AbortController();
    using credential = credentialOf("x");
    const attempt = volume.prove(credential, controller.signal);
    controller.abort();
    expect((await failureOf(attempt)).code).toBe("unlock/interrupted");
  });

  test("a proven key is wiped with its scope and cannot open afterwards", async () => {
    const volume = await found({ files: heads("default") });
    using credential = credentialOf(fixtureCase("default").passphrase ?? "");
    const proven = await volume.prove(credential, signal);
    proven[Symbol.dispose]();
    expect((await failureOf(proven.open())).code).toBe("internal/defect");
  });

  test("gets the worker ready only when there will be something to derive", async () => {
    let prepared = 0;
    const prepare = (): void => {
      prepared += 1;
    };
    const deriver = { ...rememberingDeriver, prepare };
    await found({ files: heads("plain"), settings: { deriver } });
    expect(prepared).toBe(0);
    await found({ files: heads("default"), settings: { deriver } });
    expect(prepared).toBe(1);
  });
});

describe("a volume that is open already", () => {
  const { key_description = "", passphrase_key_hex = "", passphrase = "" } = fixtureCase("default");
  const put = (keyring: FakeKeyring, payload: string, where: "user" | "session" = "user"): number => {
    using key = secretOf(Uint8Array.fromHex(payload));
    return keyring.addKey("user", key_description, key, where);
  };

  test("mounted: told by /sys/fs/bcachefs", async () => {
    const sys = mkdtempSync(join(tmpdir(), "latchkey-sys-"));
    mkdirSync(join(sys, "fs/bcachefs", fixtureCase("default").external_uuid), { recursive: true });
    const context = contextOf();
    expect((await found({ files: heads("default"), settings: { sys }, context })).state).toBe("open");
    expect(context.notes[0]).toContain("is mounted already");
    expect((await found({ files: heads("plain"), settings: { sys } })).state).toBe("unencrypted");
    rmSync(sys, { recursive: true });
  });

  test.each(["user", "session"] as const)("the right key is in the %s keyring", async (where) => {
    const keyring = new FakeKeyring();
    put(keyring, passphrase_key_hex, where);
    const context = contextOf();
    expect((await found({ files: heads("default"), keyring, context })).state).toBe("open");
    expect(context.notes).toEqual(["the key is already in the keyring"]);
  });

  test("a key that cannot be read is believed, with a note", async () => {
    const keyring = new FakeKeyring();
    keyring.mayLink = false;
    put(keyring, passphrase_key_hex);
    const context = contextOf();
    expect((await found({ files: heads("default"), keyring, context })).state).toBe("open");
    expect(context.notes[0]).toContain("whether it fits is not known");
  });

  test.each(["00".repeat(32), "00"])(
    "a key that does not fit (%s) leaves it closed, and is replaced",
    async (payload) => {
      const keyring = new FakeKeyring();
      const serial = put(keyring, payload);
      const context = contextOf();
      const volume = await found({ files: heads("default"), keyring, context });
      expect(volume.state).toBe("closed");
      expect(context.notes[0]).toContain("does not fit");
      using credential = credentialOf(passphrase);
      using proven = await volume.prove(credential, signal);
      await proven.open();
      expect(keyring.keys.get(serial)?.payload).toBe(passphrase_key_hex);
    },
  );

  test("a wrong key in the session keyring, which the mount would find first, is removed", async () => {
    const keyring = new FakeKeyring();
    put(keyring, "00".repeat(32), "session");
    const volume = await found({ files: heads("default"), keyring });
    using credential = credentialOf(passphrase);
    using proven = await volume.prove(credential, signal);
    await proven.open();
    expect([...keyring.keys.values()].map((key) => [key.keyring, key.payload])).toEqual([["user", passphrase_key_hex]]);
  });
});

describe("the key in the keyring", () => {
  async function opening(keyring: FakeKeyring, settings: Partial<BcachefsSettings> = {}): Promise<unknown> {
    const volume = await found({ files: heads("default"), keyring, settings });
    using credential = credentialOf(fixtureCase("default").passphrase ?? "");
    using proven = await volume.prove(credential, signal);
    keyring.calls.length = 0;
    return await proven.open();
  }
  const description = fixtureCase("default").key_description;

  test.each([true, false])(
    "goes into the user keyring, which is linked into the session (there is one: %p)",
    async (hasSession) => {
      const keyring = new FakeKeyring();
      keyring.hasSession = hasSession;
      await opening(keyring);
      expect(keyring.calls).toEqual([`add user ${description} to user`, "link user to session"]);
    },
  );

  test.each([
    ["session", "link user to session"],
    ["user_session", "link user_session to session"],
  ] as const)("goes into the %s keyring when asked to", async (destination, link) => {
    const keyring = new FakeKeyring();
    await opening(keyring, { destination });
    expect(keyring.calls).toEqual([`add user ${description} to ${destination}`, link]);
  });

  test("that a mount would not find is taken out again, and the error says why", async () => {
    const keyring = new FakeKeyring();
    keyring.mayLink = false;
    const failure = await failureOf(opening(keyring));
    expect([failure.code, failure.outcome]).toEqual(["bcachefs/key-not-visible", "failed"]);
    expect(failure.hint).toContain("keyctl link @u @s");
    expect(keyring.keys.size).toBe(0);
  });

  test("is found without a link by a process that has no session keyring", async () => {
    const keyring = new FakeKeyring();
    keyring.mayLink = false;
    keyring.hasSession = false;
    await opening(keyring);
    expect(keyring.keys.size).toBe(1);
  });

  test("is where request_key of the real kernel finds it, and gone after close()", async () => {
    // The session keyring of this process may be shared with the shell, and the user keyring is with other runs of this test.
    const own = (description: string): string => `${description}:test ${process.pid}`;
    const keyring: Keyring = {
      ...kernelKeyring,
      addKey: (type, description, ...rest) => kernelKeyring.addKey(type, own(description), ...rest),
      requestKey: (type, description) => kernelKeyring.requestKey(type, own(description)),
      search: (place, type, description) => kernelKeyring.search(place, type, own(description)),
    };
    const volume = await found({ files: heads("utf8"), keyring });
    using credential = credentialOf(fixtureCase("utf8").passphrase ?? "");
    using proven = await volume.prove(credential, signal);
    const opened = await proven.open();
    const name = fixtureCase("utf8").key_description ?? "";
    const serial = keyring.requestKey("user", name);
    expect(serial).toBeNumber();
    using payload = kernelKeyring.read(serial ?? 0);
    expect(payload.bytes.toHex()).toBe(fixtureCase("utf8").passphrase_key_hex ?? "");
    expect((await found({ files: heads("utf8"), keyring })).state).toBe("open");
    await opened.close();
    expect(keyring.requestKey("user", name)).toBeUndefined();
  });
});
