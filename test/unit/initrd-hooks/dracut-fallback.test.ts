import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { OFF_WORDS, ON_WORDS } from "./off-words.ts";
import { type ScriptRun, StubPrograms } from "./stub-programs.ts";

const script = join(import.meta.dir, "../../../initrd-hooks/dracut/latchkey-fallback.sh");
const dash = ["/usr/bin/dash", "/bin/dash", "/bin/sh"].find((path) => existsSync(path)) ?? "sh";

/** A device that exists on every machine; nothing reads it, bcachefs is a stub. */
const DEVICE = "/dev/null";
const UUID = "6c617463-6865-4b65-8000-000000000001";

interface Scene {
  /** What systemd is about to mount. */
  readonly what?: string;
  readonly active?: boolean;
  readonly cmdline?: string;
  readonly result?: string;
  readonly status?: number;
  readonly hasTool?: boolean;
  readonly encrypted?: boolean;
  readonly type?: string;
  /** Keys in the kernel. */
  readonly keys?: string;
  /** What is answered, question by question; when they are used up, the question fails. */
  readonly answers?: readonly string[];
}

async function fallback(scene: Scene): Promise<ScriptRun> {
  const { what = DEVICE, result = "signal", status = 9, answers = [], type = "bcachefs" } = scene;
  using stubs = new StubPrograms();
  const passphrase = stubs.put("passphrase", "secret words\n");
  stubs.add(
    "systemctl",
    'case "$*" in',
    `*What*) echo "${what}" ;;`,
    `*ActiveState*) echo ${scene.active ? "active" : "inactive"} ;;`,
    `*Result*) echo ${result} ;;`,
    `*ExecMainStatus*) echo ${status} ;;`,
    "esac",
  );
  stubs.add("udevadm", 'case "$*" in', `*ID_FS_TYPE*) echo ${type} ;;`, `*ID_FS_UUID*) echo ${UUID} ;;`, "esac");
  for (const [index, answer] of answers.entries()) stubs.put(`answer${index}`, `${answer}\n`);
  stubs.add(
    "systemd-ask-password",
    "number=0",
    `while [ -e "${stubs.folder}/asked$number" ]; do number=$((number + 1)); done`,
    `: > "${stubs.folder}/asked$number"`,
    `[ -e "${stubs.folder}/answer$number" ] || exit 1`,
    `read -r answer < "${stubs.folder}/answer$number"`,
    'echo "$answer"',
  );
  if (scene.hasTool !== false) {
    stubs.add(
      "bcachefs",
      `if [ "$2" = -c ]; then exit ${scene.encrypted === false ? 1 : 0}; fi`,
      "read -r given",
      `read -r right < "${passphrase}"`,
      '[ "$given" = "$right" ] && exit 0',
      "echo incorrect passphrase >&2",
      "exit 1",
    );
  }
  return await stubs.run([dash, script], {
    LATCHKEY_CMDLINE: stubs.put("cmdline", `${scene.cmdline ?? "root=UUID=1 quiet"}\n`),
    LATCHKEY_KEYS: stubs.put("keys", scene.keys ?? ""),
  });
}

const questions = (run: ScriptRun): string[] => run.calls.filter((call) => call.startsWith("systemd-ask-password"));

describe("the question that follows when latchkey did not finish", () => {
  test("is asked after a crash, says why, and opens the root", async () => {
    const run = await fallback({ answers: ["secret words"] });
    expect(run.status).toBe(0);
    expect(run.stderr).toContain(
      `latchkey: latchkey failed (signal, status 9); asking for the passphrase of ${DEVICE}\n`,
    );
    expect(questions(run)).toEqual([
      `systemd-ask-password --no-tty --timeout=0 --icon=drive-harddisk --id=latchkey-fallback:${DEVICE} Passphrase for ${DEVICE}:`,
    ]);
    expect(run.calls).toContain(`bcachefs unlock -k user ${DEVICE}`);
  });

  test("is asked again, without limit, until the passphrase is right", async () => {
    const run = await fallback({ answers: [...Array.from({ length: 9 }, () => "wrong"), "secret words"] });
    expect(run.status).toBe(0);
    expect(questions(run)).toHaveLength(10);
    expect(questions(run).at(1)).toEndWith(`That was not the passphrase. Passphrase for ${DEVICE}:`);
  });

  test("is asked when latchkey is switched off, for dracut has none of its own", async () => {
    const run = await fallback({ cmdline: "root=UUID=1 rd.latchkey=0", answers: ["secret words"] });
    expect(run.stderr).toContain("latchkey: switched off by rd.latchkey=0; asking for the passphrase");
  });

  test.each(OFF_WORDS)("is asked when latchkey is switched off with %s", async (word) => {
    const run = await fallback({ cmdline: `root=UUID=1 rd.latchkey=${word} quiet`, answers: ["secret words"] });
    expect(run.stderr).toContain("latchkey: switched off");
  });

  test.each(ON_WORDS)("names no switch for rd.latchkey=%s", async (word) => {
    const run = await fallback({ cmdline: `rd.latchkey=${word} rd.latchkey.debug=0`, answers: ["secret words"] });
    expect(run.stderr).not.toContain("switched off");
  });

  test("never puts the passphrase into an argument or on the console", async () => {
    const run = await fallback({ answers: ["wrong", "secret words"] });
    expect(run.calls.join("\n") + run.stdout + run.stderr).not.toContain("secret words");
  });

  test("ends when nobody can or wants to answer, and the emergency shell follows", async () => {
    const run = await fallback({ answers: ["wrong"] });
    expect(run.status).toBe(1);
    expect(questions(run)).toHaveLength(2);
    expect(run.stderr).toContain("no passphrase was given");
  });

  test("takes any member of a root of several", async () => {
    const run = await fallback({ what: `${DEVICE}:/dev/zero`, answers: ["secret words"] });
    expect(run.calls).toContain(`bcachefs unlock -k user ${DEVICE}`);
  });

  test.each<[string, Scene, number, string]>([
    ["of a root that is not encrypted", { encrypted: false }, 0, "the system goes on by itself"],
    [
      "of a root that is unlocked",
      { keys: `1a2b I--Q--- 1 perm 3f010000 0 0 user      bcachefs:${UUID}: 32\n` },
      0,
      `${DEVICE} is unlocked`,
    ],
    ["of a root that is mounted", { active: true }, 0, ""],
    ["of a root that no disk holds", { what: "10.0.0.1:/export" }, 0, ""],
    ["of no root at all", { what: "" }, 0, ""],
    ["of a root that is not there", { what: "/dev/nowhere" }, 1, "the root device /dev/nowhere is not there"],
    ["without bcachefs-tools", { hasTool: false }, 1, "bcachefs-tools is not in this image"],
    ["of another root without bcachefs-tools", { hasTool: false, type: "ext4" }, 0, "the system goes on by itself"],
  ])("is not asked %s", async (_, scene, status, message) => {
    const run = await fallback({ ...scene, answers: ["secret words"] });
    expect(questions(run)).toEqual([]);
    expect(run.status).toBe(status);
    if (message === "") expect(run.stderr).toBe("");
    else expect(run.stderr).toContain(message);
  });
});
