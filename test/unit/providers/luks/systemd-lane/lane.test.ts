import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SystemMappings } from "../../../../../src/providers/luks/mappings.ts";
import type { MappingOpener, MappingRequest } from "../../../../../src/providers/luks/opener.ts";
import { escapeUnitName, unescapeUnitName } from "../../../../../src/providers/luks/systemd-lane/cryptsetup-unit.ts";
import { KeySockets } from "../../../../../src/providers/luks/systemd-lane/key-sockets.ts";
import { ASK_LIMIT, MAPPING_LIMIT, SystemdLane } from "../../../../../src/providers/luks/systemd-lane/lane.ts";
import { SecretBytes } from "../../../../../src/system/secret-bytes.ts";
import { HandClock } from "../../../unlock/fakes.ts";
import { nameFor, TestAsker } from "./test-asker.ts";

const never = new AbortController().signal;
const request: MappingRequest = {
  name: "data",
  uuid: "6c617463-6865-4b65-8000-000000000002",
  device: "/dev/vdb",
  settings: { allowDiscards: false, readOnly: false, openOptions: [], opener: "systemd" },
};

/** A lane between a fake systemd and a fake cryptsetup. */
class Scene implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), "latchkey-lane-"));
  readonly clock = new HandClock();
  readonly events: string[] = [];
  readonly open = new Set<string>();
  isRunning = true;
  readonly #otherwise: MappingOpener = {
    open: async ({ name }) => {
      this.events.push(`opened ${name} itself`);
      return { close: async () => void this.events.push(`closed ${name} itself`) };
    },
  };
  readonly sockets = KeySockets.listen({
    volumes: ["data"],
    clock: this.clock,
    folder: this.folder,
    note: () => undefined,
  });
  readonly lane = new SystemdLane({
    sockets: this.sockets,
    mappings: { find: async (uuid) => (this.open.has(uuid) ? "data" : undefined) },
    units: {
      restart: async (name) => {
        this.events.push(`restarted ${name}`);
        this.open.clear();
      },
      giveUp: async (name) => void this.events.push(`given up ${name}`),
    },
    isRunning: () => this.isRunning,
    otherwise: this.#otherwise,
    clock: this.clock,
    note: (text, volume) => this.events.push(`${volume}: ${text}`),
  });

  opening(secret = "correct horse", signal = never) {
    const passphrase = SecretBytes.take(new TextEncoder().encode(secret));
    return this.lane.open(request, { passphrase }, signal);
  }

  systemdAsks(): TestAsker {
    return new TestAsker(join(this.folder, "data.key"), nameFor("data"));
  }

  [Symbol.dispose](): void {
    this.sockets[Symbol.dispose]();
    rmSync(this.folder, { recursive: true });
  }
}

describe("opening through systemd-cryptsetup", () => {
  test("gives the key to it, waits for its mapping, and has it closed by systemd", async () => {
    using scene = new Scene();
    using client = scene.systemdAsks();
    const opening = scene.opening("correct\n horse \n");
    await scene.clock.advance(0);
    expect(await client.answer()).toBe("correct\n horse \n");
    await scene.clock.advance(30_000);
    scene.open.add(request.uuid);
    await scene.clock.advance(200);
    const opened = await opening;
    expect(scene.events).toEqual([]);
    const closing = opened.close();
    await scene.clock.advance(0);
    await closing;
    expect(scene.events).toEqual(["restarted data"]);
  });

  test("a key larger than a socket's buffer arrives whole", async () => {
    using scene = new Scene();
    using client = scene.systemdAsks();
    const secret = "0123456789abcdef".repeat(64 * 1024);
    const opening = scene.opening(secret);
    const answer = client.answer();
    for (let turns = 0; turns < 40; turns++) {
      await scene.clock.advance(100);
      await Bun.sleep(2);
    }
    expect((await answer) === secret).toBe(true);
    scene.open.add(request.uuid);
    await scene.clock.advance(200);
    await opening;
  });

  test("waits for one that is not there yet", async () => {
    using scene = new Scene();
    const opening = scene.opening();
    await scene.clock.advance(ASK_LIMIT - 1000);
    using client = scene.systemdAsks();
    await scene.clock.advance(100);
    expect(await client.answer()).toBe("correct horse");
    scene.open.add(request.uuid);
    await scene.clock.advance(200);
    await opening;
    expect(scene.events).toEqual([]);
  });

  test.each<[string, (scene: Scene) => Promise<void>, string]>([
    ["does not ask", (scene) => scene.clock.advance(ASK_LIMIT), "systemd-cryptsetup did not ask for the key"],
    [
      "makes no mapping",
      async (scene) => {
        using _client = scene.systemdAsks();
        await scene.clock.advance(MAPPING_LIMIT + 1000);
      },
      "systemd-cryptsetup has the key and did not make the mapping",
    ],
    [
      "ends without a mapping",
      async (scene) => {
        using _client = scene.systemdAsks();
        scene.isRunning = false;
        await scene.clock.advance(200);
      },
      "systemd-cryptsetup has the key and did not make the mapping",
    ],
  ])("when it %s, the mapping is made without it, and closed without it", async (_, happens, why) => {
    using scene = new Scene();
    const opening = scene.opening();
    await happens(scene);
    await (await opening).close();
    expect(scene.events).toEqual([
      `data: ${why}: latchkey opens it itself`,
      "opened data itself",
      "closed data itself",
    ]);
  });

  test("where nobody listens for the volume, it is opened without systemd, and at once", async () => {
    using scene = new Scene();
    scene.sockets.release("data");
    await scene.opening();
    expect(scene.events).toEqual(["opened data itself"]);
  });

  test("an abort ends the wait, and opens nothing", async () => {
    for (const asks of [false, true]) {
      using scene = new Scene();
      using _client = asks ? scene.systemdAsks() : undefined;
      const abort = new AbortController();
      const failure = scene.opening("correct horse", abort.signal).catch((thrown: unknown) => thrown);
      await scene.clock.advance(100);
      abort.abort();
      await scene.clock.advance(100);
      expect(await failure).toMatchObject({ code: "unlock/interrupted" });
      expect(scene.events).toEqual([]);
    }
  });

  test("a mapping that systemd does not close is an error", async () => {
    using scene = new Scene();
    using _client = scene.systemdAsks();
    const opening = scene.opening();
    scene.open.add(request.uuid);
    await scene.clock.advance(100);
    const opened = await opening;
    const failure = opened.close().catch((thrown: unknown) => thrown);
    scene.open.add(request.uuid);
    await scene.clock.advance(60_000);
    expect(await failure).toMatchObject({ code: "luks/tool-failed" });
  });
});

describe("the mappings there are", () => {
  test.each([
    ["one that is live", { size: "2048", suspended: "0" }, "crypt-data"],
    ["one without a table yet", { size: "0", suspended: "0" }, undefined],
    ["one that is not live yet", { size: "2048", suspended: "1" }, undefined],
    [
      "another volume's",
      { size: "2048", suspended: "0", uuid: "CRYPT-LUKS2-ffff7463686546658000000000000002-x" },
      undefined,
    ],
    ["a plain mapping", { size: "2048", suspended: "0", uuid: "CRYPT-PLAIN-crypt-data" }, undefined],
    [
      "one of LUKS1",
      { size: "2048", suspended: "0", uuid: "CRYPT-LUKS1-6c61746368654b658000000000000002-x" },
      "crypt-data",
    ],
  ] as const)("%s", async (_, facts, expected) => {
    const sys = mkdtempSync(join(tmpdir(), "latchkey-sys-"));
    try {
      mkdirSync(join(sys, "block/vda"), { recursive: true });
      mkdirSync(join(sys, "block/dm-0/dm"), { recursive: true });
      const uuid = "uuid" in facts ? facts.uuid : "CRYPT-LUKS2-6c61746368654b658000000000000002-crypt-data";
      for (const [file, text] of [
        ["size", facts.size],
        ["dm/suspended", facts.suspended],
        ["dm/uuid", uuid],
        ["dm/name", "crypt-data"],
      ] as const) {
        writeFileSync(join(sys, "block/dm-0", file), `${text}\n`);
      }
      expect(await new SystemMappings(sys).find(request.uuid)).toBe(expected);
    } finally {
      rmSync(sys, { recursive: true });
    }
  });

  test("none without device mapper", async () => {
    expect(await new SystemMappings("/nonexistent").find(request.uuid)).toBeUndefined();
  });
});

const hasEscape = Bun.which("systemd-escape") !== null;

test.skipIf(!hasEscape)("names become parts of unit names as systemd-escape writes them (skipped without it)", () => {
  for (const name of ["root", "my-data", ".hidden", "a.b", "luks-6c617463-6865", "a_b:c", "späte platte", "a\\b"]) {
    expect(escapeUnitName(name)).toBe(Bun.spawnSync(["systemd-escape", "--", name]).stdout.toString().trimEnd());
  }
});

test("and are read back from there; what was never written so stays as it is", () => {
  for (const name of ["my-data", ".hidden", "luks-6c617463-6865", "späte platte", "a\\b", "a-b/c"]) {
    expect(unescapeUnitName(escapeUnitName(name))).toBe(name);
  }
  for (const name of ["root", "my-data", "a\\b", "a\\x2", "späte-platte"]) expect(unescapeUnitName(name)).toBe(name);
});
