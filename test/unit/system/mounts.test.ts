import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LatchkeyError } from "../../../src/system/errors.ts";
import { type CallResult, ENOSYS, type MountCalls, systemMountCalls } from "../../../src/system/mount-calls.ts";
import { ReadOnlyMount, sweepMounts } from "../../../src/system/mounts.ts";

const EBUSY = 16;
const ENODEV = 19;
const EINVAL = 22;
const EPERM = 1;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-mounts-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Calls that say what they are told to and write down what they were asked. Descriptors are real, so that they can be closed. */
class RecordedCalls implements MountCalls {
  readonly log: string[] = [];
  readonly #answers: Readonly<Record<string, readonly number[]>>;
  readonly #counts = new Map<string, number>();

  /** @param answers by call: errnos, one after the other; 0 or nothing is success */
  constructor(answers: Readonly<Record<string, readonly number[]>> = {}) {
    this.#answers = answers;
  }

  #answer(name: string, text: string, value: () => number): CallResult {
    this.log.push(`${name} ${text}`.trim());
    const count = this.#counts.get(name) ?? 0;
    this.#counts.set(name, count + 1);
    const errno = this.#answers[name]?.[count] ?? 0;
    return errno === 0 ? { value: value() } : { errno };
  }

  fsopen = (type: string) => this.#answer("fsopen", type, anyFile);
  fsconfig = (_: number, name: string, value?: string) =>
    this.#answer("fsconfig", value === undefined ? name : `${name}=${value}`, () => 0);
  create = () => this.#answer("create", "", () => 0);
  fsmount = (_: number, attributes: number) => this.#answer("fsmount", String(attributes), () => openSync(folder, "r"));
  openat2 = (_: number, path: string, __: number, resolve: number) =>
    this.#answer("openat2", `${path} ${resolve}`, anyFile);
  unlinkat = () => this.#answer("unlinkat", "", () => 0);
  openat = (parent: number, path: string, flags: number) => {
    const isFolder = (flags & 0o200000) !== 0;
    this.log.push(`openat ${path}${isFolder ? "/" : ""}`);
    return systemMountCalls.openat(parent, path, flags);
  };
  unshare = () => this.#answer("unshare", "", () => 0);
  mount = (source: string, target: string, type: string, flags: number, data: string) =>
    this.#answer("mount", `${source} ${target.replace(folder, "")} ${type} ${flags} ${data}`, () => 0);
  detach = (target: string) => this.#answer("detach", target.replace(folder, ""), () => 0);
}

const anyFile = (): number => openSync("/dev/null", "r");

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (thrown) {
    return (thrown as LatchkeyError).code;
  }
  return "no error";
}

describe("a mount that is in no namespace", () => {
  test("is read-only, without devices, programs and set-user-ID bits", () => {
    const calls = new RecordedCalls();
    ReadOnlyMount.open("/dev/sdb1", "ext4", { calls, runFolder: folder })[Symbol.dispose]();
    expect(calls.log).toEqual([
      "fsopen ext4",
      "fsopen ext4",
      "fsconfig source=/dev/sdb1",
      "fsconfig ro",
      "fsconfig noload",
      "create",
      "fsmount 15",
    ]);
  });

  test("of a device that is mounted for writing elsewhere shares what the kernel has of it", () => {
    const calls = new RecordedCalls({ create: [EBUSY] });
    ReadOnlyMount.open("/dev/sdb1", "vfat", { calls, runFolder: folder })[Symbol.dispose]();
    expect(calls.log.slice(2)).toEqual([
      "fsconfig source=/dev/sdb1",
      "fsconfig ro",
      "fsconfig utf8=1",
      "create",
      "fsopen vfat",
      "fsconfig source=/dev/sdb1",
      "fsconfig utf8=1",
      "create",
      "fsmount 15",
    ]);
  });

  test("that fails is told from a driver that is missing", () => {
    const parts = (answers: ConstructorParameters<typeof RecordedCalls>[0]) => ({
      calls: new RecordedCalls(answers),
      runFolder: folder,
    });
    expect(codeOf(() => ReadOnlyMount.open("/dev/sdb1", "exfat", parts({ fsopen: [ENODEV] })))).toBe(
      "key-file/no-driver",
    );
    expect(codeOf(() => ReadOnlyMount.open("/dev/sdb1", "exfat", parts({ create: [EINVAL] })))).toBe(
      "key-file/mount-failed",
    );
    expect(codeOf(() => ReadOnlyMount.open("/dev/sdb1", "exfat", parts({ create: [EBUSY, EBUSY] })))).toBe(
      "key-file/mount-failed",
    );
  });

  test("leaves no descriptor open, whatever fails", () => {
    const count = () => readdirSync("/proc/self/fd").length;
    const before = count();
    for (const answers of [
      {},
      { fsconfig: [EINVAL] },
      { create: [EINVAL] },
      { fsmount: [EPERM] },
      { create: [EBUSY] },
    ]) {
      const parts = { calls: new RecordedCalls(answers), runFolder: folder };
      codeOf(() => ReadOnlyMount.open("/dev/sdb1", "ext4", parts)[Symbol.dispose]());
    }
    expect(count()).toBe(before);
  });
});

describe("a kernel without fsopen(2)", () => {
  const old = { fsopen: [ENOSYS] };

  test("mounts in a namespace of this process, and takes the mount point away at once", () => {
    const calls = new RecordedCalls(old);
    using _ = ReadOnlyMount.open("/dev/sdb1", "ext4", { calls, runFolder: folder });
    expect(calls.log.map((line) => line.replace(/(stick-\d+-)\w+/, "$1X"))).toEqual([
      "fsopen ext4",
      "unshare",
      "mount none /  278528",
      `mount /dev/sdb1 /stick-${process.pid}-X ext4 15 noload`,
      `detach /stick-${process.pid}-X`,
    ]);
    expect(readdirSync(folder)).toEqual([]);
  });

  test("and where it may have no namespace, without one", () => {
    const calls = new RecordedCalls({ ...old, unshare: [EPERM] });
    using _ = ReadOnlyMount.open("/dev/sdb1", "ext4", { calls, runFolder: folder });
    expect(calls.log).not.toContain("mount none /  278528");
  });

  test("leaves no folder when the mount fails", () => {
    const calls = new RecordedCalls({ ...old, mount: [0, EINVAL] });
    expect(codeOf(() => ReadOnlyMount.open("/dev/sdb1", "vfat", { calls, runFolder: folder }))).toBe(
      "key-file/mount-failed",
    );
    expect(readdirSync(folder)).toEqual([]);
  });

  test("what a crash left behind is swept, but nothing of a process that lives", () => {
    mkdirSync(join(folder, "stick-999999999-abc"), { mode: 0o700 });
    mkdirSync(join(folder, `stick-${process.pid}-abc`));
    mkdirSync(join(folder, "other"));
    const calls = new RecordedCalls();
    sweepMounts({ calls, runFolder: folder });
    expect(calls.log).toEqual(["detach /stick-999999999-abc"]);
    expect(readdirSync(folder).sort()).toEqual(["other", `stick-${process.pid}-abc`]);
    sweepMounts({ calls, runFolder: join(folder, "missing") });
  });
});

describe("a file below a mount", () => {
  /** A mount whose files are those of the test's folder. */
  function mounted(answers: ConstructorParameters<typeof RecordedCalls>[0] = {}) {
    const calls = new RecordedCalls(answers);
    return { calls, mount: ReadOnlyMount.open("/dev/sdb1", "ext4", { calls, runFolder: folder }) };
  }

  test("is opened beneath it and through no link", () => {
    const { calls, mount } = mounted();
    const opened = mount.openFile("a/b", false);
    if ("value" in opened) closeSync(opened.value);
    expect(calls.log.at(-1)).toBe("openat2 a/b 15");
    mount[Symbol.dispose]();
  });

  test("on a kernel without openat2(2) one step at a time, with the same answers", () => {
    mkdirSync(join(folder, "keys"));
    writeFileSync(join(folder, "keys/root.key"), "key");
    symlinkSync("root.key", join(folder, "keys/link"));
    symlinkSync("keys", join(folder, "there"));
    symlinkSync("/etc/passwd", join(folder, "out"));
    const { mount } = mounted({ openat2: Array(20).fill(ENOSYS) });
    const open = (path: string) => {
      const opened = mount.openFile(path, false);
      if ("errno" in opened) return opened.errno;
      const { size } = fstatSync(opened.value);
      closeSync(opened.value);
      return `${size} bytes`;
    };
    const ELOOP = 40;
    const ENOTDIR = 20;
    const ENOENT = 2;
    expect(open("keys/root.key")).toBe("3 bytes");
    expect(open("keys/link")).toBe(ELOOP);
    expect(open("there/root.key")).toBe(ENOTDIR);
    expect(open("out")).toBe(ELOOP);
    expect(open("keys/../keys/root.key")).toBe(EINVAL);
    expect(open("../passwd")).toBe(EINVAL);
    expect(open("/etc/passwd")).toBe(EINVAL);
    expect(open("keys/nope")).toBe(ENOENT);
    mount[Symbol.dispose]();
  });
});

test("the numbers of the calls are the kernel's: a folder is opened beneath itself, and not outside", () => {
  if (!existsSync("/proc/self/fd")) throw new Error("no /proc");
  writeFileSync(join(folder, "file"), "x");
  const parent = openSync(folder, "r");
  const inside = systemMountCalls.openat2(parent, "file", 0, 15);
  expect(inside).toHaveProperty("value");
  if ("value" in inside) {
    expect(fstatSync(inside.value).ino).toBe(statSync(join(folder, "file")).ino);
    closeSync(inside.value);
  }
  expect(systemMountCalls.openat2(parent, "../x", 0, 15)).toEqual({ errno: 18 }); // EXDEV
  closeSync(parent);
});
