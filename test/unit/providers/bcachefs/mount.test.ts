import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kernelKnowsBcachefs, type MountRequest, MS, planMount } from "../../../../src/providers/bcachefs/mount.ts";
import { type MountCalls, runMount } from "../../../../src/providers/bcachefs/mount-run.ts";
import { failureOf } from "./fixtures.ts";

const request = (change: Partial<MountRequest> = {}): MountRequest => ({
  devices: ["/dev/sda", "/dev/sdb"],
  target: "/sysroot",
  options: [],
  readOnly: false,
  degraded: false,
  ...change,
});

describe("planning a mount", () => {
  test("all members are joined by colons", () => {
    expect(planMount(request())).toEqual({
      source: "/dev/sda:/dev/sdb",
      target: "/sysroot",
      flags: 0,
      data: "",
      subfolder: undefined,
    });
  });

  test.each([
    ["ro", MS.readOnly, ""],
    ["ro,rw", 0, ""],
    ["nosuid,nodev,noexec", MS.noSuid | MS.noDev | MS.noExec, ""],
    ["noatime,relatime", MS.relAtime, ""],
    ["relatime,noatime", MS.noAtime, ""],
    ["noatime,strictatime,lazytime", MS.strictAtime | MS.lazyTime, ""],
    ["nosuid,defaults", 0, ""],
    ["sync,dirsync,nodiratime,silent", MS.synchronous | MS.dirSync | MS.noDirAtime | MS.silent, ""],
    ["degraded,verbose,fsck,fix_errors=yes", 0, "degraded,verbose,fsck,fix_errors=yes"],
    ["x-systemd.device-timeout=9,X-mount.mkdir,auto,noauto,nofail,_netdev,user,users,user=me,defaults", 0, ""],
    ["an_option_of_tomorrow=1,ro", MS.readOnly, "an_option_of_tomorrow=1"],
    [" ro , , compression=zstd:15 ", MS.readOnly, "compression=zstd:15"],
    ["toString,constructor", 0, "toString,constructor"],
  ])("%p", (options, flags, data) => {
    expect(planMount(request({ options: [options] }))).toMatchObject({ flags, data });
    expect(planMount(request({ options: options.split(",") }))).toMatchObject({ flags, data });
  });

  test("ro of the kernel command line holds unless an option says rw", () => {
    expect(planMount(request({ readOnly: true })).flags).toBe(MS.readOnly);
    expect(planMount(request({ readOnly: true, options: ["rw"] })).flags).toBe(0);
  });

  test.each([
    [[], "degraded"],
    [["verbose"], "verbose,degraded"],
    [["degraded=very"], "degraded=very"],
    [["very_degraded"], "very_degraded"],
  ])("degraded is added to %p where nothing of the kind is there", (options, data) => {
    expect(planMount(request({ options, degraded: true })).data).toBe(data);
  });

  test.each([
    ["X-mount.subdir=@root", "@root"],
    ["X-mount.subdir=/a//b/./c/", "a/b/c"],
    ["X-mount.subdir=/", undefined],
  ])("%s", (option, subfolder) => {
    expect(planMount(request({ options: [option] })).subfolder).toBe(subfolder);
  });

  test.each([
    { options: ["X-mount.subdir=../etc"] },
    { options: ["X-mount.subdir=a/../../b"] },
    { options: ["x".repeat(5000)] },
    { devices: ["/dev/disk/by-path/pci-0000:00:1f.2"] },
    { devices: Array.from({ length: 300 }, (_, index) => `/dev/mapper/volume${index}`) },
  ])("what mount(2) could not carry out is refused (%#)", async (change) => {
    expect((await failureOf(Promise.try(() => planMount(request(change))))).code).toBe("bcachefs/mount-failed");
  });
});

/** Records calls; `answers` gives the errno of the nth mount(2), 0 where it says nothing. */
function recorder(
  answers: readonly number[] = [],
  inside: Readonly<Record<string, string>> = {},
): MountCalls & { readonly log: string[] } {
  const log: string[] = [];
  let mounts = 0;
  return {
    log,
    mount(source, target, type, flags, data) {
      log.push(`mount ${source} ${target} ${type} ${flags} ${data}`.trimEnd());
      return answers[mounts++] ?? 0;
    },
    detach(target) {
      log.push(`detach ${target}`);
      return 0;
    },
    makeFolder: () => "/run/latchkey/mount-1",
    removeFolder: (path) => void log.push(`remove ${path}`),
    realPath: (path) => inside[path],
  };
}

describe("mounting", () => {
  test("is one call of mount(2)", () => {
    const calls = recorder();
    expect(runMount(planMount(request({ options: ["noatime,degraded"] })), calls)).toEqual([]);
    expect(calls.log).toEqual(["mount /dev/sda:/dev/sdb /sysroot bcachefs 1024 degraded"]);
  });

  test.each([13, 30])("a write-protected device (errno %d) is mounted read-only, with a note", (errno) => {
    const calls = recorder([errno]);
    expect(runMount(planMount(request()), calls)).toEqual([
      "/dev/sda:/dev/sdb is write-protected and was mounted read-only",
    ]);
    expect(calls.log.at(-1)).toBe("mount /dev/sda:/dev/sdb /sysroot bcachefs 1");
  });

  test.each([
    [126, "the kernel did not find its key (ENOKEY)"],
    [22, "too few members, a key that does not fit"],
    [19, "this kernel has no bcachefs"],
    [16, "in use"],
    [999, "errno 999"],
  ])("errno %d in words: %s", async (errno, words) => {
    const failure = await failureOf(Promise.try(() => runMount(planMount(request()), recorder([errno]))));
    expect(failure.code).toBe("bcachefs/mount-failed");
    expect(failure.message).toStartWith("cannot mount /dev/sda:/dev/sdb on /sysroot: ");
    expect(failure.message).toContain(words);
  });

  const stage = "/run/latchkey/mount-1";
  const subfolder = planMount(request({ options: ["ro,X-mount.subdir=@/root"] }));

  test("a subfolder is mounted by hand: privately, bound to the target, the rest dropped", () => {
    const calls = recorder([], { [`${stage}/@/root`]: `${stage}/@/root` });
    runMount(subfolder, calls);
    expect(calls.log).toEqual([
      `mount ${stage} ${stage}  ${MS.bind}`,
      `mount  ${stage}  ${MS.private}`,
      `mount /dev/sda:/dev/sdb ${stage} bcachefs 1`,
      `mount ${stage}/@/root /sysroot  ${MS.bind}`,
      `detach ${stage}`,
      `detach ${stage}`,
      `remove ${stage}`,
    ]);
  });

  test.each([
    ["is missing", {}],
    ["is a link out of the file system", { [`${stage}/@/root`]: "/etc" }],
    ["is a link to its neighbour", { [`${stage}/@/root`]: `${stage}2/etc` }],
  ])("a subfolder that %s is an error, and nothing stays mounted", async (_, inside) => {
    const calls = recorder([], inside);
    const failure = await failureOf(Promise.try(() => runMount(subfolder, calls)));
    expect(failure.message).toContain("it has no folder @/root");
    expect(calls.log.slice(-3)).toEqual([`detach ${stage}`, `detach ${stage}`, `remove ${stage}`]);
  });

  test("when the mount itself fails, the stage is cleared away", async () => {
    const calls = recorder([0, 0, 126]);
    const failure = await failureOf(Promise.try(() => runMount(subfolder, calls)));
    expect(failure.message).toContain("ENOKEY");
    expect(calls.log.slice(-2)).toEqual([`detach ${stage}`, `remove ${stage}`]);
  });
});

describe("does the kernel know bcachefs", () => {
  test.each([
    ["nodev\tsysfs\n\text4\n\tbcachefs\n", true],
    ["nodev\tsysfs\n\text4\n\tnotbcachefs\n", false],
    ["", false],
  ])("%p: %p", async (text, answer) => {
    const proc = mkdtempSync(join(tmpdir(), "latchkey-proc-"));
    writeFileSync(join(proc, "filesystems"), text);
    expect(await kernelKnowsBcachefs(proc)).toBe(answer);
    rmSync(proc, { recursive: true });
  });
});
