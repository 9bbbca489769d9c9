import { describe, expect, test } from "bun:test";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { Glob } from "bun";

const hooks = join(import.meta.dir, "../../../initrd-hooks");
const scripts = [...new Glob("**/*.sh").scanSync(hooks)].sort().map((file) => join(hooks, file));
const units = [...new Glob("**/*.service").scanSync(hooks)].sort().map((file) => join(hooks, file));

const has = (program: string): boolean => Bun.which(program) !== null;

describe.skipIf(!has("shellcheck"))("shellcheck (skipped where it is not installed)", () => {
  test.each(scripts.map((script) => [basename(script), script] as const))("%s", (_, script) => {
    const dialect = readFileSync(script, "utf8").startsWith("#!/bin/bash") ? "bash" : "dash";
    const run = Bun.spawnSync(["shellcheck", "--shell", dialect, script]);
    expect(run.stdout.toString()).toBe("");
  });
});

describe("scripts of the initrd", () => {
  test.each(scripts.map((script) => [basename(script), script] as const))(
    "%s is for dash, unless dracut sources it",
    (name, script) => {
      const [first = ""] = readFileSync(script, "utf8").split("\n");
      expect(first).toBe(name === "module-setup.sh" ? "#!/bin/bash" : "#!/bin/sh");
    },
  );
});

describe.skipIf(!has("systemd-analyze"))("systemd-analyze verify (skipped where systemd is not installed)", () => {
  test.each(units.map((unit) => [basename(unit), unit] as const))("%s", (name, unit) => {
    const root = mkdtempSync(join(tmpdir(), "latchkey-units-"));
    try {
      mkdirSync(join(root, "usr/lib/systemd/system"), { recursive: true });
      cpSync(unit, join(root, "usr/lib/systemd/system", name));
      for (const [, program = ""] of readFileSync(unit, "utf8").matchAll(/^Exec\w+=-?(\S+)/gm)) {
        mkdirSync(join(root, dirname(program)), { recursive: true });
        writeFileSync(join(root, program), "#!/bin/sh\n");
        chmodSync(join(root, program), 0o755);
      }
      const run = Bun.spawnSync(["systemd-analyze", "verify", "--man=no", `--root=${root}`, name]);
      expect({ status: run.exitCode, said: run.stderr.toString() }).toEqual({ status: 0, said: "" });
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });
});

describe("units of the initrd", () => {
  test.each(units.map((unit) => [basename(unit), readFileSync(unit, "utf8")] as const))(
    "%s cannot stop a boot",
    (name, text) => {
      // Nothing may require them, and they wait for no target that waits for volumes.
      expect(text).toMatch(/^DefaultDependencies=no$/m);
      expect(text).not.toMatch(/^(?:Requires|Requisite|BindsTo|RequiredBy)=/m);
      expect(text).not.toMatch(/^After=.*\b(?:sysinit|basic|cryptsetup|local-fs)\.target/m);
      // The way in from afar is the one thing that the mount of the root must not wait for.
      const isWayIn = ["latchkey-sshd.service", "latchkey-network.service"].includes(name);
      expect(/^Before=.*\bsysroot\.mount\b/m.test(text)).toBe(!isWayIn);
      expect(text).toMatch(/^Conflicts=.*\binitrd-switch-root\.target\b/m);
      expect(text).toMatch(/^ConditionPathExists=\/etc\/initrd-release$/m);
      expect(text).not.toContain("MemoryDenyWriteExecute=yes");
    },
  );
});
