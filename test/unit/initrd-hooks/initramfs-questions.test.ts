import { describe, expect, test } from "bun:test";
import { InitramfsScene } from "./initramfs-scene.ts";

const KEYSCRIPT = "/lib/cryptsetup/scripts/latchkey";
const UNLOCK = "/usr/bin/cryptroot-unlock";
const FIFO = "/lib/cryptsetup/passfifo";

function keyscriptScene(...program: readonly string[]): InitramfsScene {
  const scene = new InitramfsScene();
  scene.script(KEYSCRIPT, scene.text("keyscript.sh"));
  scene.script(
    "/lib/cryptsetup/askpass",
    `#!/bin/sh\necho "askpass [$*]" >> ${scene.stubs.folder}/calls\nprintf typed\n`,
  );
  scene.program(...program);
  return scene;
}

describe("the keyscript", () => {
  const environment = { CRYPTTAB_NAME: "root" };

  test("passes latchkey's key on, letter for letter", async () => {
    using scene = keyscriptScene("printf 'the key'");
    const run = await scene.run(KEYSCRIPT, environment, "none");
    expect(run).toMatchObject({ status: 0, stdout: "the key", calls: ["latchkey keyscript none"] });
  });

  test.each([1, 2, 3, 64, 78, 134])("lets askpass ask when latchkey ends with %d", async (status) => {
    using scene = keyscriptScene(`exit ${status}`);
    const run = await scene.run(KEYSCRIPT, environment, "none");
    expect(run).toMatchObject({ status: 0, stdout: "typed" });
    expect(run.calls.filter((call) => call.startsWith("askpass"))).toEqual(["askpass [Please unlock disk root: ]"]);
  });

  test("asks nobody for a volume that was refused", async () => {
    using scene = keyscriptScene("exit 4");
    const run = await scene.run(KEYSCRIPT, environment, "none");
    expect(run).toMatchObject({ status: 4, stdout: "", calls: ["latchkey keyscript none"] });
  });

  test.each<[string, (scene: InitramfsScene) => void]>([
    ["switched off", (scene) => scene.put("/proc/cmdline", "rd.latchkey=0\n")],
    ["stripped", (scene) => scene.put("/usr/bin/latchkey", "#!/bin/sh\necho 1.4.5\n", 0o755)],
  ])("does not start a program that is %s", async (_, damage) => {
    using scene = keyscriptScene();
    damage(scene);
    const run = await scene.run(KEYSCRIPT, environment, "none");
    expect(run).toMatchObject({ stdout: "typed", calls: ["askpass [Please unlock disk root: ]"] });
  });
});

/** Processes as /proc shows them: latchkey, and an askpass of its own with this question. */
class UnlockScene extends InitramfsScene {
  constructor() {
    super();
    this.script(UNLOCK, this.text("cryptroot-unlock.sh"));
    this.script(
      "/usr/lib/latchkey/debian-cryptroot-unlock",
      `#!/bin/sh\necho "debian" >> ${this.stubs.folder}/calls\nexit 7\n`,
    );
    this.put("/cryptroot/crypttab", "root UUID=1 none luks\n");
    expect(Bun.spawnSync(["mkfifo", this.at(FIFO)]).exitCode).toBe(0);
  }

  latchkey(processId: number): void {
    this.link(`/proc/${processId}/exe`, this.at("/usr/bin/latchkey"));
  }

  question(processId: number, parent: number, text: string): void {
    this.link(`/proc/${processId}/exe`, this.at("/usr/lib/cryptsetup/askpass"));
    this.put(`/proc/${processId}/stat`, `${processId} (askpass) S ${parent} 1 1 0\n`);
    this.put(`/proc/${processId}/cmdline`, `/lib/cryptsetup/askpass\0${text}\0`);
  }

  /** What the world does when the script waits for the first time. */
  onWait(...lines: readonly string[]): void {
    this.stubs.add("sleep", `[ -e ${this.at("/waited")} ] && exit 0`, `: > ${this.at("/waited")}`, ...lines);
  }

  async answer(text: string) {
    const reader = Bun.spawn(["cat", this.at(FIFO)], { stdout: "pipe" });
    const run = await this.run("/answer", { ANSWER: text });
    reader.kill();
    return { ...run, got: await new Response(reader.stdout).text() };
  }
}

/** Standard input of stub programs is closed, so what a session types comes through a script. */
function unlockScene(): UnlockScene {
  const scene = new UnlockScene();
  scene.script("/answer", `#!/bin/sh\nprintf '%s' "$ANSWER" | ${UNLOCK}\n`);
  return scene;
}

describe("cryptroot-unlock", () => {
  test("leaves it to Debian's where latchkey is not at work", async () => {
    using scene = unlockScene();
    scene.question(900, 800, "Please unlock disk root: ");
    expect(await scene.answer("secret words")).toMatchObject({ status: 7, calls: ["debian"] });
  });

  test("answers latchkey's question, and ends well when all is open", async () => {
    using scene = unlockScene();
    scene.latchkey(800);
    scene.question(900, 800, "Passphrase for root (LUKS2 on /dev/vda): ");
    scene.put("/dev/mapper/root", "");
    scene.onWait(`rm -rf ${scene.at("/proc/800")} ${scene.at("/proc/900")}`);
    const run = await scene.answer("secret words");
    expect(run).toMatchObject({ status: 0, got: "secret words", calls: [] });
    expect(run.stdout).toBe("Passphrase for root (LUKS2 on /dev/vda): \n");
  });

  test("fails when latchkey is gone and something is still closed", async () => {
    using scene = unlockScene();
    scene.latchkey(800);
    scene.question(900, 800, "Passphrase for root: ");
    scene.onWait(`rm -rf ${scene.at("/proc/800")} ${scene.at("/proc/900")}`);
    expect((await scene.answer("secret words")).status).toBe(1);
  });

  test.each([
    ["Wrong passphrase for root, try again (2nd try): ", 1],
    ["That opened root; passphrase for data: ", 0],
  ])("tells what the next question says: %s", async (next, status) => {
    using scene = unlockScene();
    scene.latchkey(800);
    scene.question(900, 800, "Passphrase for root: ");
    scene.question(901, 1, next);
    scene.onWait(
      `rm -rf ${scene.at("/proc/900")}`,
      `printf '901 (askpass) S 800 1 1 0\\n' > ${scene.at("/proc/901/stat")}`,
    );
    const run = await scene.answer("secret words");
    expect(run.status).toBe(status);
    expect(run.stderr).toContain(next);
  });

  test("does not wait for ever for a question", async () => {
    using scene = unlockScene();
    scene.latchkey(800);
    const run = await scene.answer("secret words");
    expect(run.status).toBe(1);
    expect(run.stderr).toContain("latchkey: no question has come up");
  });
});
