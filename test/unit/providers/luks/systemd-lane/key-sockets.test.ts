import { describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KeySockets } from "../../../../../src/providers/luks/systemd-lane/key-sockets.ts";
import { monotonicClock } from "../../../../../src/system/clock.ts";
import { SecretBytes } from "../../../../../src/system/secret-bytes.ts";
import { nameFor, TestAsker } from "./test-asker.ts";

const never = new AbortController().signal;
const LIMIT = 20_000;

class Scene implements Disposable {
  readonly folder = join(mkdtempSync(join(tmpdir(), "latchkey-keys-")), "keys.d");
  readonly notes: string[] = [];
  readonly sockets: KeySockets;

  constructor(volumes: readonly string[] = ["data"], prepare: (folder: string) => void = () => undefined) {
    prepare(this.folder);
    this.sockets = KeySockets.listen({
      volumes,
      clock: monotonicClock,
      folder: this.folder,
      note: (_, text, volume) => this.notes.push(`${volume}: ${text}`),
    });
  }

  path(volume = "data"): string {
    return join(this.folder, `${volume}.key`);
  }

  ask(volume = "data", name: string | undefined = nameFor(volume)): TestAsker {
    return new TestAsker(this.path(volume), name);
  }

  [Symbol.dispose](): void {
    this.sockets[Symbol.dispose]();
    rmSync(join(this.folder, ".."), { recursive: true });
  }
}

describe("the sockets for systemd-cryptsetup", () => {
  test("are there for root alone, and gone at the end", () => {
    const scene = new Scene(["data", "swap"]);
    expect(scene.sockets.paths).toEqual([scene.path("data"), scene.path("swap")]);
    expect(statSync(scene.folder).mode & 0o7777).toBe(0o700);
    for (const path of scene.sockets.paths) {
      expect(statSync(path).isSocket()).toBe(true);
      expect(statSync(path).mode & 0o7777).toBe(0o600);
    }
    scene.sockets[Symbol.dispose]();
    expect(existsSync(scene.path("data"))).toBe(false);
    expect(existsSync(scene.path("swap"))).toBe(false);
    scene[Symbol.dispose]();
  });

  test("make a folder safe that was open to others", () => {
    using scene = new Scene(["data"], (folder) => {
      Bun.spawnSync(["mkdir", "-p", folder]);
      chmodSync(folder, 0o755);
    });
    expect(statSync(scene.folder).mode & 0o7777).toBe(0o700);
  });

  test("hand over who waits already, and who comes later", async () => {
    using scene = new Scene();
    for (const isEarly of [true, false]) {
      const later = isEarly ? undefined : scene.sockets.takeAsker("data", LIMIT, never);
      using client = scene.ask();
      using asker = await (later ?? scene.sockets.takeAsker("data", LIMIT, never));
      using secret = SecretBytes.take(new TextEncoder().encode("correct horse\n"));
      expect(asker?.peer).toMatchObject({ pid: process.pid, uid: process.getuid?.() ?? 0 });
      expect(asker?.isHungUp).toBe(false);
      expect(asker?.send(secret, 0)).toBe(secret.length);
      asker?.[Symbol.dispose]();
      expect(await client.answer()).toBe("correct horse\n"); // verbatim, the newline too
    }
    expect(scene.notes).toEqual(Array(2).fill("data: systemd-cryptsetup waits for its key"));
  });

  test("keep volumes apart", async () => {
    using scene = new Scene(["data", "swap"]);
    using client = scene.ask("swap");
    expect(await scene.sockets.takeAsker("data", 0, never)).toBeUndefined();
    using asker = await scene.sockets.takeAsker("swap", LIMIT, never);
    expect(asker).toBeDefined();
    asker?.[Symbol.dispose]();
    expect(await client.answer()).toBe("");
  });

  test("close a request for a token's blob without a byte, and go on to wait for the one for the key", async () => {
    using scene = new Scene();
    using token = scene.ask("data", nameFor("data", "cryptsetup-tpm2"));
    expect(await scene.sockets.takeAsker("data", 0, never)).toBeUndefined();
    expect(await token.answer()).toBe("");
    using _client = scene.ask();
    using asker = await scene.sockets.takeAsker("data", LIMIT, never);
    expect(asker).toBeDefined();
    expect(scene.notes).toEqual([
      "data: systemd-cryptsetup was sent on to the token in the LUKS2 header",
      "data: systemd-cryptsetup waits for its key",
    ]);
  });

  test.each([
    ["has no name", undefined, /does not say that it is systemd-cryptsetup/],
    ["has another's name", "beef/cryptsetup/root", /asks for another volume/],
    ["wants what nobody knows", "beef/cryptsetup-moon/data", /wants a "moon"/],
  ])("turn away who %s, and say so", async (_, name, why) => {
    using scene = new Scene();
    using client = name === undefined ? new TestAsker(scene.path(), undefined) : scene.ask("data", name);
    expect(await scene.sockets.takeAsker("data", 0, never)).toBeUndefined();
    expect(await client.answer()).toBe("");
    expect(scene.notes.join()).toMatch(why);
  });

  test("forget who has left, and take the later of two", async () => {
    using scene = new Scene();
    scene.ask()[Symbol.dispose]();
    expect(await scene.sockets.takeAsker("data", 0, never)).toBeUndefined();
    expect(scene.notes.at(-1)).toBe("data: systemd-cryptsetup no longer waits for its key");
    using first = scene.ask();
    using second = scene.ask();
    using asker = await scene.sockets.takeAsker("data", LIMIT, never);
    asker?.[Symbol.dispose]();
    expect(await second.answer()).toBe("");
    scene.sockets[Symbol.dispose]();
    expect(await first.answer()).toBe("");
  });

  test("end with an end of file for all who wait, let in or not, and never with a reset", async () => {
    using scene = new Scene();
    const letIn = scene.ask();
    await Bun.sleep(60); // more than a look
    const notYet = [scene.ask(), scene.ask()];
    scene.sockets.release("data");
    for (using client of [letIn, ...notYet]) expect(await client.answer()).toBe("");
    expect(existsSync(scene.path())).toBe(false);
    expect(scene.sockets.servesVolume("data")).toBe(false);
    expect(await scene.sockets.takeAsker("data", LIMIT, never)).toBeUndefined();
  });

  test("leave a key file of somebody else alone", () => {
    using scene = new Scene(["data", "swap"], (folder) => {
      Bun.spawnSync(["mkdir", "-p", folder]);
      writeFileSync(join(folder, "data.key"), "staged");
    });
    expect(scene.sockets.servesVolume("data")).toBe(false);
    expect(scene.sockets.servesVolume("swap")).toBe(true);
    expect(scene.notes.join()).toContain(
      "data: systemd-cryptsetup asks for its passphrase itself: cannot bind a socket at",
    );
    scene.sockets[Symbol.dispose]();
    expect(readFileSync(scene.path(), "utf8")).toBe("staged");
  });

  test("are not waited for after an abort", async () => {
    using scene = new Scene();
    const abort = new AbortController();
    const asker = scene.sockets.takeAsker("data", LIMIT, abort.signal);
    abort.abort();
    expect(await asker).toBeUndefined();
  });
});

const program = ["/usr/lib/systemd/systemd-cryptsetup", "/lib/systemd/systemd-cryptsetup"].find(existsSync);
const canMount = process.getuid?.() === 0 && Bun.spawnSync(["unshare", "--mount", "true"]).exitCode === 0;

test.skipIf(!program || !canMount)(
  "the real systemd-cryptsetup is known by its name, and reads what it is given (skipped without it, or without root)",
  async () => {
    using scene = new Scene();
    const mounts = `mount -t tmpfs tmpfs /run && mkdir /run/cryptsetup-keys.d && mount --bind "$1" /run/cryptsetup-keys.d`;
    const run = `${mounts}; exec "$2" attach data /dev/null - luks,headless`;
    const cryptsetup = Bun.spawn(
      ["unshare", "--mount", "sh", "-c", run, "sh", `/proc/${process.pid}/root${scene.folder}`, program ?? ""],
      {
        stdio: ["ignore", "ignore", "ignore"],
      },
    );
    // Since 257 it looks at the device first, and /dev/null is none: then it does not ask.
    using asker = await Promise.race([
      scene.sockets.takeAsker("data", LIMIT, never),
      cryptsetup.exited.then(() => undefined),
    ]);
    if (asker) {
      expect(asker.peer.pid).toBe(cryptsetup.pid);
      expect(asker.isHungUp).toBe(false);
      using secret = SecretBytes.take(new TextEncoder().encode("correct horse"));
      expect(asker.send(secret, 0)).toBe(secret.length);
      asker[Symbol.dispose]();
    }
    await cryptsetup.exited;
    expect(scene.notes.filter((note) => note.includes("turned away"))).toEqual([]);
  },
);
