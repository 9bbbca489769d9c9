import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { copyFileSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kernelKeyring } from "../../../../src/keyutils-ffi/keyring.ts";
import { runCryptsetup } from "../../../../src/providers/luks/cryptsetup.ts";
import { LuksTool } from "../../../../src/providers/luks/luks-tool.ts";
import type { MappingOpener } from "../../../../src/providers/luks/opener.ts";
import { LuksProvider } from "../../../../src/providers/luks/provider.ts";
import type { FoundVolume } from "../../../../src/providers/provider.ts";
import { SystemBlockDevices } from "../../../../src/system/block-devices.ts";
import { monotonicClock } from "../../../../src/system/clock.ts";
import { Credential } from "../../../../src/system/credential.ts";
import { asLatchkeyError } from "../../../../src/system/errors.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { whyNoKeys } from "../../commands/sandbox.ts";
import { LuksFile, whyNoLuks } from "../../enroll/scene.ts";
import { contextOf } from "../bcachefs/fake-machine.ts";
import { edited } from "./fixtures.ts";
import { credentialOf, luksScene, luksVolumeOf } from "./machine.ts";

// Real cryptsetup, on files: no device is mapped, so nothing here opens a volume.
setDefaultTimeout(120_000);

const never = new AbortController().signal;
const cheap = ["--pbkdf-force-iterations", "1000"];

interface Disk extends Disposable {
  readonly path: string;
  readonly file: (name: string) => string;
}

function disk(type: string, passphrase: string | Uint8Array, ...options: readonly string[]): Disk {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-luks-"));
  const file = (name: string): string => join(folder, name);
  const path = file("disk.img");
  writeFileSync(path, "");
  truncateSync(path, 24 * 1024 * 1024);
  writeFileSync(file("key"), passphrase);
  const args = ["luksFormat", "-q", "--type", type, ...cheap, ...options, path, file("key")];
  const made = Bun.spawnSync(["cryptsetup", ...args]);
  if (!made.success) throw new Error(made.stderr.toString());
  return { path, file, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
}

const luks2 = (...options: readonly string[]): Disk => disk("luks2", "secret", "--pbkdf", "pbkdf2", ...options);

async function find(path: string, luks = {}): Promise<FoundVolume> {
  const { provider } = luksScene(runCryptsetup, { devices: new SystemBlockDevices() });
  return await provider.find(luksVolumeOf("data", path, luks), contextOf({ deviceTimeout: 0 }));
}

/** What a volume says to a passphrase. */
async function verdict(volume: FoundVolume, passphrase: string, signal = never): Promise<string> {
  using credential = credentialOf(passphrase);
  try {
    (await volume.prove(credential, signal))[Symbol.dispose]();
    return "right";
  } catch (thrown) {
    return asLatchkeyError(thrown).code;
  }
}

describe.skipIf(whyNoLuks !== undefined)(`cryptsetup itself${whyNoLuks ? `: ${whyNoLuks}` : ""}`, () => {
  test.each(["luks1", "luks2"])("tells right from wrong on %s", async (type) => {
    using image = type === "luks2" ? luks2() : disk(type, "secret");
    const volume = await find(image.path);
    expect([
      await verdict(volume, "secret"),
      await verdict(volume, "Secret"),
      await verdict(volume, "secret\n"),
    ]).toEqual(["right", "luks/wrong-passphrase", "luks/wrong-passphrase"]);
  });

  test("takes octets as they are: NUL, line feeds, bytes that are no text", async () => {
    const key = Uint8Array.of(0, 10, 255, 13, 10, 0);
    using image = disk("luks2", key, "--pbkdf", "pbkdf2");
    const volume = await find(image.path);
    using right = new Credential(SecretBytes.take(key.slice()));
    using _ = await volume.prove(right, never);
    using cut = new Credential(SecretBytes.take(key.slice(0, 1)));
    expect(await volume.prove(cut, never).catch(asLatchkeyError)).toMatchObject({ code: "luks/wrong-passphrase" });
  });

  test("takes a longer key than any pipe holds", async () => {
    const key = "k".repeat(200_000);
    using image = disk("luks2", key, "--pbkdf", "pbkdf2");
    const volume = await find(image.path);
    expect([await verdict(volume, key), await verdict(volume, key.slice(1))]).toEqual([
      "right",
      "luks/wrong-passphrase",
    ]);
  });

  test("proves with Argon2, and side by side", async () => {
    using image = disk(
      "luks2",
      "secret",
      "--pbkdf",
      "argon2id",
      "--pbkdf-memory",
      "1024",
      "--pbkdf-parallel",
      "1",
      "--pbkdf-force-iterations",
      "4",
    );
    const volume = await find(image.path);
    expect(volume.proofMemory).toBe(1024 * 1024);
    const verdicts = await Promise.all(["a", "secret", "b"].map((text) => verdict(volume, text)));
    expect(verdicts).toEqual(["luks/wrong-passphrase", "right", "luks/wrong-passphrase"]);
  });

  test("tries one key slot alone where one is named", async () => {
    using image = new LuksFile("--key-slot", "5");
    expect(await verdict(await find(image.image, { keySlot: 5 }), "the installer's passphrase")).toBe("right");
    expect(await find(image.image, { keySlot: 0 }).catch(asLatchkeyError)).toMatchObject({ code: "luks/no-slot" });
  });

  test("reads a detached header", async () => {
    using image = luks2();
    copyFileSync(image.path, image.file("header.img"));
    writeFileSync(image.path, "");
    truncateSync(image.path, 24 * 1024 * 1024);
    const volume = await find(image.path, { header: image.file("header.img") });
    expect(await verdict(volume, "secret")).toBe("right");
    expect(volume.devices).toEqual([image.path]);
  });

  test("works from the second copy of a header", async () => {
    using image = luks2();
    const bytes = new Uint8Array(await Bun.file(image.path).arrayBuffer());
    bytes.fill(0x55, 4096, 4200);
    writeFileSync(image.path, bytes);
    expect(await verdict(await find(image.path), "secret")).toBe("right");
  });

  test("that cannot read the header is no wrong passphrase", async () => {
    using image = luks2();
    const volume = await find(image.path);
    writeFileSync(image.path, "");
    expect(await verdict(volume, "secret")).toBe("luks/tool-failed");
    rmSync(image.path);
    expect(await verdict(volume, "secret")).toBe("luks/tool-failed");
  });

  /** A disk whose key derivation takes longer than anybody waits. */
  async function slowDisk(): Promise<Disk> {
    const image = luks2();
    const bytes = new Uint8Array(await Bun.file(image.path).arrayBuffer());
    const slow = edited(bytes.slice(0, 0x8000), {
      json: (json) => {
        const slots = json["keyslots"] as Record<string, { kdf: Record<string, unknown> }>;
        const kdf = slots["0"]?.kdf;
        if (kdf) kdf["iterations"] = 2 ** 31 - 1;
        return json;
      },
    });
    bytes.set(slow);
    writeFileSync(image.path, bytes);
    return image;
  }

  /** The process of cryptsetup that works on this disk. */
  async function workingOn(path: string): Promise<number> {
    for (;;) {
      for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
        const command = await Bun.file(`/proc/${pid}/cmdline`)
          .text()
          .catch(() => "");
        if (command.includes("cryptsetup") && command.includes(path)) return Number(pid);
      }
      await Bun.sleep(20);
    }
  }

  test("that is told to stop is killed, however long it would take", async () => {
    using image = await slowDisk();
    const over = new AbortController();
    const waiting = verdict(await find(image.path), "secret", over.signal);
    await workingOn(image.path);
    over.abort();
    expect(await waiting).toBe("unlock/interrupted");
  });

  test("that somebody kills is no wrong passphrase", async () => {
    using image = await slowDisk();
    const volume = await find(image.path);
    using credential = credentialOf("secret");
    const waiting = volume.prove(credential, never).catch(asLatchkeyError);
    process.kill(await workingOn(image.path), "SIGKILL");
    expect(await waiting).toMatchObject({
      code: "luks/tool-failed",
      message: expect.stringContaining("was killed by signal 9"),
      hint: expect.stringContaining("memory"),
    });
  });
});

/** Why no volume key can go through the kernel here, if none can. */
const whyNoLink =
  whyNoLuks ??
  whyNoKeys ??
  ((await new LuksTool(runCryptsetup).canLinkVolumeKeys()) ? undefined : "cryptsetup is older than 2.7");

const title = `a volume key through the kernel's keyring${whyNoLink === undefined ? "" : ` (skipped: ${whyNoLink})`}`;
describe.skipIf(whyNoLink !== undefined)(title, () => {
  /** Does cryptsetup take the key that the kernel holds? It opens nothing. */
  const takes = async (key: string, path: string): Promise<boolean> => {
    const args = ["open", "--test-passphrase", "--type", "luks", "--volume-key-keyring", key, path];
    return (await runCryptsetup({ args })).status === 0;
  };

  async function openWith(path: string, passphrase: string, opener: MappingOpener): Promise<void> {
    const provider = new LuksProvider({
      devices: new SystemBlockDevices(),
      tool: new LuksTool(runCryptsetup),
      openers: { latchkey: opener, systemd: opener },
      mappings: { list: () => Promise.resolve([]) },
      keyring: kernelKeyring,
      clock: monotonicClock,
    });
    const found = await provider.find(luksVolumeOf("data", path), contextOf({ deviceTimeout: 0 }));
    using credential = credentialOf(passphrase);
    using proven = await found.prove(credential, never);
    await proven.open();
  }

  test("is there for the next call of cryptsetup, and for nobody afterwards", async () => {
    using image = luks2();
    const keys: string[] = [];
    const verdicts: boolean[] = [];
    await openWith(image.path, "secret", {
      async open(_, { volumeKey }) {
        keys.push(volumeKey ?? "");
        verdicts.push(await takes(volumeKey ?? "", image.path));
        return { close: () => Promise.resolve() };
      },
    });
    expect(keys[0]).toStartWith("%user:latchkey:volume-key:");
    verdicts.push(await takes(keys[0] ?? "", image.path));
    expect(verdicts).toEqual([true, false]);
  });

  test("is gone also when the opening failed", async () => {
    using image = luks2();
    let key = "";
    const opening = openWith(image.path, "secret", {
      open(_, { volumeKey }) {
        key = volumeKey ?? "";
        return Promise.reject(new Error("it failed"));
      },
    });
    await expect(opening).rejects.toThrow("it failed");
    expect(await takes(key, image.path)).toBe(false);
  });
});
