import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type ScriptRun, StubPrograms } from "./stub-programs.ts";

const script = join(import.meta.dir, "../../../initrd-hooks/dracut/latchkey-listening.sh");
const dash = ["/usr/bin/dash", "/bin/dash", "/bin/sh"].find((path) => existsSync(path)) ?? "sh";

interface Scene {
  readonly action?: string;
  /** What systemd says of latchkey.service, time after time; the last stays. */
  readonly states?: readonly string[];
  /** Lines of the file that says where latchkey listens; undefined while there is none. */
  readonly list?: (keys: string) => readonly string[];
  /** Written into the list when systemd is asked for this time. */
  readonly listComesAt?: number;
  /** Names below the folder of keys: sockets and plain files. */
  readonly sockets?: readonly string[];
  readonly files?: readonly string[];
}

interface Outcome extends ScriptRun {
  readonly left: readonly string[];
  readonly asked: number;
}

async function listening(scene: Scene): Promise<Outcome> {
  const { action = "wait", states = [], sockets = [], files = [] } = scene;
  using stubs = new StubPrograms();
  const [keys, run] = [join(stubs.folder, "keys.d"), join(stubs.folder, "run")];
  mkdirSync(keys);
  mkdirSync(run);
  using servers = new DisposableStack();
  for (const name of sockets) {
    const server = Bun.listen({ unix: join(keys, name), socket: { data: () => undefined } });
    servers.defer(() => server.stop(true));
  }
  for (const name of files) stubs.put(`keys.d/${name}`, "");
  if (scene.list)
    stubs.put(
      "run/listening",
      scene
        .list(keys)
        .map((line) => `${line}\n`)
        .join(""),
    );
  for (const [index, state] of states.entries()) stubs.put(`state${index}`, state);
  stubs.add("rm", 'exec /bin/rm "$@"');
  // Time goes by only by sleeping.
  stubs.put("uptime", "100.00 50.00\n");
  stubs.add(
    "sleep",
    `read -r now rest < "${stubs.folder}/uptime"`,
    `tenths=0; [ -e "${stubs.folder}/tenths" ] && read -r tenths < "${stubs.folder}/tenths"`,
    `tenths=$((tenths + 1)); echo $tenths > "${stubs.folder}/tenths"`,
    `echo "$((100 + tenths / 10)).$((tenths % 10))0 50.00" > "${stubs.folder}/uptime"`,
  );
  stubs.add(
    "systemctl",
    `number=0; [ -e "${stubs.folder}/asked" ] && read -r number < "${stubs.folder}/asked"`,
    `[ "$number" = ${scene.listComesAt ?? -1} ] && : > "${run}/listening"`,
    `echo $((number + 1)) > "${stubs.folder}/asked"`,
    `while [ "$number" -gt ${states.length - 1} ]; do number=$((number - 1)); done`,
    `while read -r line; do echo "$line"; done < "${stubs.folder}/state$number"`,
  );
  const ended = await stubs.run([dash, script, action], {
    LATCHKEY_RUN: run,
    LATCHKEY_KEYS: keys,
    LATCHKEY_UPTIME: join(stubs.folder, "uptime"),
  });
  const left = [...sockets, ...files].filter((name) => existsSync(join(keys, name)));
  return {
    ...ended,
    left: existsSync(join(run, "listening")) ? ["listening", ...left] : left,
    asked: ended.calls.filter((call) => call.startsWith("systemctl")).length,
  };
}

const state = (active: string, load = "loaded", job?: number): string =>
  `LoadState=${load}\nActiveState=${active}\n${job === undefined ? "" : `Job=${job}\n`}`;

describe("before systemd-cryptsetup", () => {
  test("a latchkey that listens is not waited for", async () => {
    const run = await listening({ states: [state("activating", "loaded", 7)], list: () => [] });
    expect(run).toMatchObject({ status: 0, stderr: "", asked: 1, left: ["listening"] });
  });

  test("a latchkey that is about to start, or has started, is waited for until it listens", async () => {
    const coming = state("inactive", "loaded", 7);
    const starting = state("activating", "loaded", 7);
    const run = await listening({ states: [coming, coming, starting], listComesAt: 5 });
    expect(run).toMatchObject({ status: 0, stderr: "", asked: 6 });
  });

  test("a latchkey that never listens is waited for ten seconds, and no unit fails for it", async () => {
    const run = await listening({ states: [state("activating", "loaded", 7)] });
    expect(run).toMatchObject({ status: 0, asked: 100 });
    expect(run.stderr).toBe("latchkey: not listening after 10 s: systemd-cryptsetup asks by itself\n");
  });

  test.each([
    ["has finished", state("active")],
    ["failed", state("failed")],
    ["was kept out by a condition", state("inactive")],
    ["is masked", state("inactive", "masked")],
    ["is not in the image", state("inactive", "not-found")],
    ["has a unit that systemd cannot read", state("inactive", "bad-setting")],
    ["is unknown, because systemd does not answer", ""],
  ])("a latchkey that %s is not waited for, and no socket of its is left", async (_, answer) => {
    const run = await listening({
      states: [answer],
      list: (keys) => [`${keys}/data.key`],
      sockets: ["data.key", "other.key"],
    });
    expect(run).toMatchObject({ status: 0, stderr: "", asked: 1, left: ["other.key"] });
  });

  test("a latchkey that is just ending is waited for until its sockets are gone", async () => {
    const run = await listening({
      states: [state("deactivating"), state("deactivating"), state("failed")],
      list: (keys) => [`${keys}/data.key`],
      sockets: ["data.key"],
    });
    expect(run).toMatchObject({ status: 0, stderr: "", asked: 3, left: [] });
  });
});

describe("after latchkey", () => {
  test("its sockets are taken away, and nothing else", async () => {
    const run = await listening({
      action: "over",
      list: (keys) => [
        ...[`${keys}/data.key`, `${keys}/staged.key`, `${keys}/gone.key`],
        ...["/etc/passwd", `${keys}/../listening`, "-rf", "*", ""],
      ],
      sockets: ["data.key", "other.key"],
      files: ["staged.key"],
    });
    expect(run).toMatchObject({ status: 0, stderr: "", asked: 0, left: ["other.key", "staged.key"] });
    expect(run.calls.filter((call) => call.startsWith("rm"))).toHaveLength(2);
  });

  test("nothing is done when it left nothing", async () => {
    expect(await listening({ action: "over", files: ["a.key"] })).toMatchObject({ status: 0, left: ["a.key"] });
  });
});
