import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadPlan } from "../../../src/config/load.ts";
import { maxTextBytes, readTextFile } from "../../../src/config/read-text.ts";
import { exitStatus, LatchkeyError } from "../../../src/system/errors.ts";
import { planOf, uuid } from "./machine.ts";

function errorOf(action: () => unknown): LatchkeyError {
  try {
    action();
  } catch (error) {
    if (error instanceof LatchkeyError) return error;
    throw error;
  }
  throw new Error("no error");
}

const nothing = () => undefined;

describe("loading", () => {
  test("reads five files, and none of them has to be there", () => {
    const paths: string[] = [];
    const plan = loadPlan({ mode: "strict", read: (path) => void paths.push(path) });
    expect(paths).toEqual([
      ...["/etc/latchkey/latchkey.toml", "/proc/cmdline", "/etc/fstab", "/cryptroot/crypttab", "/etc/crypttab"],
    ]);
    expect(plan.warnings).toEqual([]);
  });

  test("systemd's variable names another fstab, as the initrd of NixOS has it", () => {
    const table =
      "/dev/sda / bcachefs x-initrd.mount,X-mount.subdir=root 0 0\n/dev/sdb /nix bcachefs x-initrd.mount 0 0\n";
    const read = (path: string) => (path === "/nix/store/x-initrd-fstab" ? table : undefined);
    process.env["SYSTEMD_SYSROOT_FSTAB"] = "/nix/store/x-initrd-fstab";
    try {
      const plan = loadPlan({ mode: "strict", kernelCommandLine: "root=fstab", read });
      expect(plan.volumes.map(({ name, isRoot }) => [name, isRoot])).toEqual([
        ["root", true],
        ["nix", false],
      ]);
      expect(plan.rootMount).toMatchObject({ subdirectory: "root", readOnly: false });
    } finally {
      delete process.env["SYSTEMD_SYSROOT_FSTAB"];
    }
  });

  test("a file that --config names must be there", () => {
    const error = errorOf(() => loadPlan({ mode: "strict", configFile: "/root/test.toml", read: nothing }));
    expect(error).toMatchObject({ code: "config/unreadable", message: "/root/test.toml: no such file" });
    expect(exitStatus[error.outcome]).toBe(78);
    expect(loadPlan({ mode: "boot", configFile: "/root/test.toml", read: nothing }).warnings).toEqual([
      "/root/test.toml: no such file",
    ]);
  });

  test("--config is read instead of the usual file", () => {
    const plan = loadPlan({
      mode: "strict",
      configFile: "/x",
      kernelCommandLine: "rd.latchkey.debug",
      read: (path) => (path === "/x" ? 'prompt_after = "9s"' : path.endsWith(".toml") ? "broken" : undefined),
    });
    expect(plan).toMatchObject({ promptAfter: 9000, debug: true });
  });

  test("an error in the configuration ends a command, and only warns at boot", () => {
    const machine = { toml: 'prompt_afer = "2s"\n', kernel: `root=UUID=${uuid} rootfstype=bcachefs` };
    const error = errorOf(() => planOf(machine));
    expect(error).toMatchObject({
      code: "config/unknown-key",
      message: '/etc/latchkey/latchkey.toml:1: prompt_afer: unknown key (did you mean "prompt_after"?)',
      hint: undefined,
    });
    expect(planOf(machine, "boot")).toMatchObject({ warnings: [error.message], volumes: [{ name: "root" }] });
  });

  test("what is wrong in the system's files ends nothing", () => {
    const plan = planOf({ kernel: "rd.latchkey.x=1", fstab: "x", crypttab: "x" });
    expect(plan.warnings.length).toBe(3);
  });

  test("a file that cannot be read is an error of the configuration, or a warning where it is the system's", () => {
    const refuse = (wanted: string) => (path: string) => {
      if (path === wanted) throw new LatchkeyError("config/unreadable", `${path}: permission denied`);
      return undefined;
    };
    const toml = refuse("/etc/latchkey/latchkey.toml");
    expect(errorOf(() => loadPlan({ mode: "strict", read: toml })).message).toBe(
      "/etc/latchkey/latchkey.toml: permission denied",
    );
    expect(loadPlan({ mode: "boot", read: toml }).warnings).toEqual(["/etc/latchkey/latchkey.toml: permission denied"]);
    expect(loadPlan({ mode: "strict", read: refuse("/etc/crypttab") }).warnings).toEqual([
      "/etc/crypttab: permission denied",
    ]);
  });

  test("not even a defect of ours ends a boot", () => {
    const broken = (path: string) => {
      if (path === "/etc/fstab") throw new TypeError("x is not a function");
      return path === "/proc/cmdline" ? `root=UUID=${uuid}` : undefined;
    };
    expect(() => loadPlan({ mode: "strict", read: broken })).toThrow(TypeError);
    const plan = loadPlan({ mode: "boot", read: broken });
    expect(plan.warnings).toEqual(["/etc/fstab: unexpected TypeError: x is not a function"]);
    expect(plan.volumes.length).toBe(1);
  });

  test("thousands of mounts are planned in no noticeable time", () => {
    const fstab = Array.from(
      { length: 4096 },
      (_, i) => `/dev/a${i}:/dev/b${i} /sysroot/m${i} bcachefs x-initrd.mount 0 0\n`,
    ).join("");
    const started = performance.now();
    const plan = planOf({ kernel: "root=fstab", fstab });
    expect(plan.volumes.length).toBe(256);
    expect(plan.warnings).toEqual([
      "/etc/fstab: more than 256 mounts of bcachefs in the initrd: the rest is left to the system",
    ]);
    expect(performance.now() - started).toBeLessThan(3000);
  });
});

describe("reading files of the machine", () => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-config-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const at = (name: string) => join(folder, name);

  test("gives the text, and nothing where there is no file", () => {
    writeFileSync(at("a"), "\ufeffprompt = ä\n");
    expect(readTextFile(at("a"))).toBe("prompt = ä\n");
    expect(readTextFile(at("missing"))).toBeUndefined();
    expect(readTextFile(at("a/below"))).toBeUndefined();
  });

  test("reads files that do not know their size", () => {
    expect(readTextFile("/proc/self/status")).toContain("Name:");
    expect(readTextFile("/proc/cmdline")).toBeString();
  });

  test("a megabyte is read, a byte more is not", () => {
    writeFileSync(at("full"), "x".repeat(maxTextBytes));
    expect(readTextFile(at("full"))?.length).toBe(maxTextBytes);
    writeFileSync(at("large"), "x".repeat(maxTextBytes + 1));
    expect(errorOf(() => readTextFile(at("large"))).message).toBe(
      `${at("large")}: larger than 1 MiB, so this is no configuration`,
    );
  });

  test("a folder, a device without end, a pipe without a writer and a circle of links are refused at once", () => {
    mkdirSync(at("folder"));
    symlinkSync("circle", at("circle"));
    expect(Bun.spawnSync(["mkfifo", at("pipe")]).exitCode).toBe(0);
    const started = performance.now();
    for (const path of [at("folder"), "/dev/zero", at("pipe"), at("circle")]) {
      expect(errorOf(() => readTextFile(path))).toMatchObject({ code: "config/unreadable", outcome: "configuration" });
    }
    expect(performance.now() - started).toBeLessThan(3000);
  });

  test("bytes that are no UTF-8 do not end it", () => {
    writeFileSync(at("latin"), Buffer.from([0x23, 0xe4, 0x0a]));
    expect(readTextFile(at("latin"))).toBe("#\ufffd\n");
  });
});

describe("the kernel command line", () => {
  const folders: Readonly<Record<string, readonly string[]>> = { "/etc/cmdline.d": ["10-root.conf", "notes.txt"] };
  const files: Readonly<Record<string, string>> = {
    "/etc/cmdline.d/10-root.conf": "root=UUID=11111111-2222-3333-4444-555555555555 rootfstype=bcachefs\n",
    "/etc/cmdline.d/notes.txt": "rd.latchkey=0",
  };
  const plan = (kernel: string) =>
    loadPlan({
      mode: "boot",
      read: (path) => (path === "/proc/cmdline" ? kernel : files[path]),
      list: (folder) => folders[folder] ?? [],
    });

  test("may stand in files of a hostonly image", () => {
    expect(plan("quiet\n").volumes.map(({ name }) => name)).toEqual(["root"]);
    expect(plan("quiet\n").enabled).toBe(true);
  });

  test("the kernel's own wins over them", () => {
    expect(plan("root=/dev/sda1 rootfstype=bcachefs\n").volumes[0]?.devices).toEqual([
      { by: "path", path: "/dev/sda1" },
    ]);
  });
});
