import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type ScriptRun, StubPrograms } from "./stub-programs.ts";

const script = join(import.meta.dir, "../../../initrd-hooks/dracut/latchkey-listening.sh");
const dash = ["/usr/bin/dash", "/bin/dash", "/bin/sh"].find((path) => existsSync(path)) ?? "sh";

interface Scene {
  readonly action?: readonly string[];
  /** Files of the folder of questions, by name. */
  readonly questions?: (folder: string) => Readonly<Record<string, string>>;
  /** What became of systemd-cryptsetup. */
  readonly result?: string;
  /** Volumes that systemd-cryptsetup began to ask for. */
  readonly asked?: readonly string[];
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
  /** Names below the folders of latchkey, of keys and of questions. */
  readonly left: readonly string[];
  readonly asked: number;
  readonly started: readonly string[];
}

async function listening(scene: Scene): Promise<Outcome> {
  const { action = ["wait", "data"], states = [], sockets = [], files = [] } = scene;
  using stubs = new StubPrograms();
  const [keys, run, questions] = [
    join(stubs.folder, "keys.d"),
    join(stubs.folder, "run"),
    join(stubs.folder, "ask-password"),
  ];
  for (const folder of [keys, run, questions, join(stubs.folder, "proc/7")]) mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(scene.questions?.(questions) ?? {})) {
    stubs.put(`ask-password/${name}`, text);
  }
  for (const name of scene.asked ?? []) stubs.put(`run/asked.${name}`, "");
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
    '[ "$1" = show ] || exit 0',
    `echo $((number + 1)) > "${stubs.folder}/asked"`,
    `while [ "$number" -gt ${states.length - 1} ]; do number=$((number - 1)); done`,
    `while read -r line; do echo "$line"; done < "${stubs.folder}/state$number"`,
  );
  const ended = await stubs.run([dash, script, ...action], {
    LATCHKEY_RUN: run,
    LATCHKEY_KEYS: keys,
    LATCHKEY_QUESTIONS: questions,
    LATCHKEY_PROC: join(stubs.folder, "proc"),
    ...(scene.result === undefined ? {} : { SERVICE_RESULT: scene.result }),
    LATCHKEY_UPTIME: join(stubs.folder, "uptime"),
  });
  return {
    ...ended,
    left: [run, keys, questions].flatMap((folder) => readdirSync(folder).sort()),
    asked: ended.calls.filter((call) => call.startsWith("systemctl show")).length,
    started: ended.calls.filter((call) => call.startsWith("systemctl start")),
  };
}

const state = (active: string, load = "loaded", job?: number): string =>
  `LoadState=${load}\nActiveState=${active}\n${job === undefined ? "" : `Job=${job}\n`}`;

describe("before systemd-cryptsetup", () => {
  test("a latchkey that listens is not waited for", async () => {
    const run = await listening({ states: [state("activating", "loaded", 7)], list: () => [] });
    expect(run).toMatchObject({ status: 0, stderr: "", asked: 1, left: ["listening"] });
  });

  test("it is noted for which volume latchkey was there to be asked", async () => {
    const states = [state("activating", "loaded", 7)];
    const list = (keys: string) => [`${keys}/swap.key`, `${keys}/data.key`];
    expect((await listening({ states, list })).left).toEqual(["asked.data", "listening"]);
    expect((await listening({ states, list, action: ["wait", "other"] })).left).toEqual(["listening"]);
    const theirs = await listening({ states, list: () => [], sockets: ["data.key"] });
    expect(theirs.left).toEqual(["listening", "data.key"]);
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
      action: ["over"],
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
    expect(await listening({ action: ["over"], files: ["a.key"] })).toMatchObject({ status: 0, left: ["a.key"] });
  });

  test("its question is taken off the console, and no other", async () => {
    const question = (pid: number, id: string, socket: string) =>
      `[Ask]\nPID=${pid}\nSocket=${socket}\nId=${id}\nMessage=a=b\n`;
    const run = await listening({
      action: ["over"],
      questions: (folder) => ({
        "ask.ours": question(6, "latchkey:data", `${folder}/sck.ours`),
        "sck.ours": "",
        "ask.alive": question(7, "latchkey:data", `${folder}/sck.alive`),
        "sck.alive": "",
        "ask.theirs": question(6, "cryptsetup:/dev/vda", `${folder}/sck.theirs`),
        "sck.theirs": "",
        "ask.strange": question(6, "latchkey:data", "/etc/passwd"),
        "ask.empty": "",
        "tmp.other": question(6, "latchkey:data", ""),
      }),
    });
    expect(run).toMatchObject({
      status: 0,
      stderr: "",
      left: ["ask.alive", "ask.empty", "ask.theirs", "sck.alive", "sck.theirs", "tmp.other"],
    });
    expect(run.calls).not.toContain("rm -f /etc/passwd");
  });
});

describe("after systemd-cryptsetup has failed", () => {
  const unit = "systemd-cryptsetup@data.service";
  const again = { action: ["again", "data", unit], result: "exit-code", asked: ["data"] } as const;

  test("it is started again when latchkey is dead, without the socket that made it fail", async () => {
    const run = await listening({
      ...again,
      states: [state("activating"), state("deactivating")],
      list: (keys) => [`${keys}/data.key`],
      sockets: ["data.key"],
    });
    expect(run).toMatchObject({ status: 0, asked: 2, started: [`systemctl start --no-block ${unit}`], left: [] });
    expect(run.stderr).toContain("not there to give the key of data");
  });

  test("it is not started a second time", async () => {
    const run = await listening({ ...again, asked: [], states: [state("failed")] });
    expect(run).toMatchObject({ status: 0, asked: 0, started: [] });
  });

  test.each<[string, Partial<Scene>]>([
    ["while latchkey lives, which opens it itself", { states: [state("activating")] }],
    ["when it has not failed, but was stopped", { result: "success", states: [state("failed")] }],
    ["when it was another volume that latchkey was asked for", { asked: ["swap"], states: [state("failed")] }],
  ])("it is not started %s", async (_, scene) => {
    expect(await listening({ ...again, ...scene })).toMatchObject({ status: 0, stderr: "", started: [] });
  });
});
