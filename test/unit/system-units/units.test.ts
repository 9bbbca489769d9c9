import { describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { commandLine } from "../../../src/commands/command-line.ts";
import { bootedFiles } from "../../../src/stacks/booted-files.ts";
import { isManaged } from "../../../src/stacks/carried-file.ts";

const textOf = (name: string): string => bootedFiles.find(({ path }) => path.endsWith(name))?.text ?? "";
const unlockUnit = textOf("/latchkey@.service");
const dropIn = textOf("/systemd-cryptsetup@.service.d/50-latchkey.conf");

/** The words of the first line of this kind. */
const words = (text: string, key: string): readonly string[] =>
  new RegExp(`^${key}=-?(.*)$`, "m").exec(text)?.[1]?.split(" ") ?? [];

describe("units of the booted system", () => {
  test("are all marked as ours, and none is for an image", () => {
    for (const { text, inImage } of bootedFiles) {
      expect(isManaged(text)).toBe(true);
      expect(inImage).toEqual([]);
    }
  });

  test("latchkey@.service calls the program with what it knows", async () => {
    const [program, command = "", ...others] = words(unlockUnit, "ExecStart");
    expect(program).toBe("/usr/bin/latchkey");
    const known = (await commandLine([command])).commands[0]?.options.map(({ long }) => long);
    expect(others.at(-1)).toBe("%i");
    for (const option of others.slice(0, -1)) expect(known).toContain(option);
  });

  test("latchkey@.service holds up nothing that a boot waits for", () => {
    expect(unlockUnit).toMatch(/^DefaultDependencies=no$/m);
    expect(unlockUnit.match(/^Before=.*$/gm)).toEqual(["Before=umount.target"]);
    expect(unlockUnit).not.toMatch(/^(?:Requires|Requisite|BindsTo|RequiredBy)=/m);
    // Each of these comes after file systems are mounted, some of which may need this unit.
    expect(unlockUnit).not.toMatch(/^After=.*\b(?:sysinit|basic|cryptsetup|local-fs|network-online)\.target/m);
    expect(unlockUnit).not.toContain("MemoryDenyWriteExecute=yes");
  });

  test("systemd-cryptsetup waits for latchkey@ of its volume, and requires nothing of it", () => {
    expect(dropIn).toMatch(/^After=latchkey@%i\.service$/m);
    expect(dropIn).not.toMatch(/^(?:Requires|Requisite|BindsTo|Wants|Before)=/m);
  });
});

const hasAnalyze = Bun.which("systemd-analyze") !== null;
test.skipIf(!hasAnalyze)("systemd-analyze verify has nothing to say (skipped where systemd is not installed)", () => {
  const root = mkdtempSync(join(tmpdir(), "latchkey-units-"));
  try {
    const put = (path: string, text: string, mode = 0o644): void => {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
      chmodSync(join(root, path), mode);
    };
    for (const { path, text } of bootedFiles) put(path, text);
    const cryptsetup =
      "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/usr/bin/systemd-cryptsetup attach\n";
    put("/usr/lib/systemd/system/systemd-cryptsetup@data.service", cryptsetup);
    for (const program of ["/usr/bin/latchkey", "/usr/bin/systemd-cryptsetup", "/usr/sbin/cryptsetup", "/bin/sh"]) {
      put(program, "#!/bin/sh\n", 0o755);
    }
    const units = ["latchkey@data.service", "systemd-cryptsetup@data.service"];
    const run = Bun.spawnSync(["systemd-analyze", "verify", "--man=no", `--root=${root}`, ...units]);
    expect({ status: run.exitCode, said: run.stderr.toString() }).toEqual({ status: 0, said: "" });
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

describe("after systemd-cryptsetup has made a mapping", () => {
  /** The command of the drop-in, with systemd's `$$` and `%I` replaced, in a folder that stands for the machine. */
  const afterMapping = (volume: string, staged: readonly string[]) => {
    const folder = mkdtempSync(join(tmpdir(), "latchkey-used-"));
    try {
      mkdirSync(join(folder, "staged"));
      for (const name of staged) writeFileSync(join(folder, "staged", name), "");
      const log = join(folder, "log");
      writeFileSync(join(folder, "latchkey"), `#!/bin/sh\nfor word; do echo "$word" >> "${log}"; done\n`);
      chmodSync(join(folder, "latchkey"), 0o755);
      const [, script = ""] = /^ExecStartPost=-\/bin\/sh -c '(.*)' sh %I$/m.exec(dropIn) ?? [];
      const here = script
        .replaceAll("$$", "$")
        .replaceAll("/run/latchkey/staged", join(folder, "staged"))
        .replaceAll("/usr/bin/latchkey", join(folder, "latchkey"));
      const run = Bun.spawnSync(["/bin/sh", "-c", here, "sh", volume]);
      expect({ status: run.exitCode, said: run.stderr.toString() }).toEqual({ status: 0, said: "" });
      return existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [];
    } finally {
      rmSync(folder, { recursive: true });
    }
  };

  test("its staged key is withdrawn", () => {
    expect(afterMapping("data", ["data", "other"])).toEqual(["stage", "--withdraw", "data"]);
    expect(afterMapping("my data$x", ["my data$x"])).toEqual(["stage", "--withdraw", "my data$x"]);
  });

  test("nothing is started where none was staged", () => {
    expect(afterMapping("data", ["other"])).toEqual([]);
  });
});
