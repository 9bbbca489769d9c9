import { describe, expect, test } from "bun:test";
import { rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { dracutFiles, dracutUnits } from "../../../src/stacks/dracut/files.ts";
import { dracut } from "../../../src/stacks/dracut/stack.ts";
import { auditImage } from "../../../src/stacks/image-audit.ts";
import type { ProgramOutcome } from "../../../src/stacks/machine.ts";
import { FakeMachine, failed, said } from "./fake-machine.ts";

const THIS = "latchkey 1.0.0 (build this)";
const MODULES = "/tree/usr/lib/modules/6.12";

interface Answers {
  readonly version?: ProgramOutcome;
  readonly libraries?: ProgramOutcome;
}

/** A machine with a good image unpacked in /tree, and programs that answer as they should. */
function goodImage(answers: Answers = {}): FakeMachine {
  const machine = new FakeMachine(async ([program = ""]) => {
    if (program === "chroot") return answers.libraries ?? said("libc.so.6 => /lib/libc.so.6");
    return answers.version ?? said(THIS);
  });
  machine.put("/usr/bin/latchkey", "the program", 0o755);
  machine.put("/tree/usr/bin/latchkey", "the program", 0o755);
  for (const { text, inImage } of dracutFiles) for (const path of inImage) machine.put(`/tree${path}`, text);
  for (const unit of dracutUnits) machine.put(`/tree/etc/systemd/system/initrd.target.wants/${unit}`, "");
  for (const name of ["systemd-ask-password", "systemd-tty-ask-password-agent", "systemctl", "udevadm"]) {
    machine.put(`/tree/usr/bin/${name}`, "", 0o755);
  }
  machine.put("/tree/usr/sbin/bcachefs", "", 0o755);
  machine.put(`${MODULES}/modules.dep`, "kernel/fs/bcachefs.ko.xz: kernel/lib/xor.ko.xz\nkernel/lib/xor.ko.xz:\n");
  machine.put(`${MODULES}/kernel/fs/bcachefs.ko.xz`, "");
  machine.put(`${MODULES}/kernel/lib/xor.ko.xz`, "");
  machine.put("/etc/latchkey/latchkey.toml", 'prompt_after = "2s"\n');
  machine.put("/etc/latchkey/root.key", "a key");
  machine.put("/tree/etc/latchkey/latchkey.toml", 'prompt_after = "2s"\n');
  return machine;
}

async function findings(machine: FakeMachine, needsBcachefs = true, files: readonly string[] = []): Promise<string[]> {
  const found = await auditImage(machine, dracut, "/tree", {
    kernel: "6.12",
    versionLine: THIS,
    keyFiles: [],
    files,
    hasRemote: false,
    needsBcachefs,
  });
  return found.filter(({ level }) => level !== "ok").map(({ level, text }) => `${level}: ${text}`);
}

describe("the audit of an image", () => {
  test("finds nothing in a good one", async () => {
    using machine = goodImage();
    expect(await findings(machine)).toEqual([]);
    expect(machine.commands).toContainEqual([join(machine.root, "tree/usr/bin/latchkey"), "--version"]);
  });

  test.each<[string, Answers, string]>([
    [
      "was stripped",
      { version: said("1.4.5") },
      'answers --version with "1.4.5" instead of "latchkey 1.0.0 (build this)"',
    ],
    ["crashes", { version: failed(139) }, 'answers --version with ""'],
    [
      "is of another build",
      { version: said("latchkey 1.0.0 (build that)") },
      'answers --version with "latchkey 1.0.0 (build that)"',
    ],
    [
      "lacks a library",
      { libraries: failed(127, "libpthread.so.0: cannot open") },
      "a library of the program is missing in the image: libpthread.so.0",
    ],
  ])("finds a program that %s", async (_, answers, expected) => {
    using machine = goodImage(answers);
    const found = await findings(machine);
    expect(found).toHaveLength(1);
    expect(found[0]).toStartWith("failure: ");
    expect(found[0]).toContain(expected);
  });

  test.each<[string, string]>([
    ["/usr/bin/latchkey", "the program is not in the image"],
    ["/usr/lib/systemd/system/latchkey.service", "/usr/lib/systemd/system/latchkey.service is not in the image"],
    ["/usr/lib/systemd/system/sysroot.mount.d/latchkey.conf", "sysroot.mount.d/latchkey.conf is not in the image"],
    ["/etc/systemd/system/initrd.target.wants/latchkey-fallback.service", "latchkey-fallback.service is not enabled"],
    ["/usr/bin/systemd-ask-password", "no question can be asked: systemd-ask-password not in the image"],
    ["/usr/lib/modules/6.12/modules.dep", "the bcachefs module of kernel 6.12 is not in the image"],
    ["/usr/lib/modules/6.12/kernel/lib/xor.ko.xz", "but not what it needs: kernel/lib/xor.ko.xz"],
    ["/etc/latchkey/latchkey.toml", "/etc/latchkey/latchkey.toml is not in the image"],
  ])("misses %s", async (path, expected) => {
    using machine = goodImage();
    rmSync(join(machine.root, "tree", path));
    const found = await findings(machine);
    expect(found[0]).toStartWith("failure: ");
    expect(found.join("\n")).toContain(expected);
  });

  test.each<[string, string, number, string]>([
    ["/usr/bin/latchkey", "the program", 0o644, "the program in the image is not executable"],
    [
      "/usr/lib/latchkey/fallback",
      "#!/bin/sh\n",
      0o755,
      "/usr/lib/latchkey/fallback in the image is not this version's",
    ],
    ["/etc/latchkey/latchkey.toml", "old", 0o644, "/etc/latchkey/latchkey.toml in the image differs"],
    ["/etc/latchkey/root.key", "a key", 0o600, "a key is in the image: /etc/latchkey/root.key"],
  ])("minds what %s is", async (path, text, mode, expected) => {
    using machine = goodImage();
    machine.put(`/tree${path}`, text, mode);
    expect((await findings(machine)).join("\n")).toContain(expected);
  });

  test("misses a token or header that lies elsewhere, and notes one that is not here either", async () => {
    using machine = goodImage();
    const files = ["/root/x.jwe", "/boot/data.hdr", "/gone.jwe"];
    machine.put("/root/x.jwe", "a token");
    machine.put("/boot/data.hdr", "a header");
    machine.put("/tree/boot/data.hdr", "an old header");
    const gone = "note: /gone.jwe is not here, and so not in the image";
    expect(await findings(machine, true, files)).toEqual([
      "failure: /root/x.jwe in the image differs from the one here",
      "failure: /boot/data.hdr in the image differs from the one here",
      gone,
    ]);
    machine.put("/tree/root/x.jwe", "a token");
    machine.put("/tree/boot/data.hdr", "a header");
    expect(await findings(machine, true, files)).toEqual([gone]);
  });

  test("takes a file that is named as a token for none of the keys, whatever it is called", async () => {
    using machine = goodImage();
    for (const place of ["/etc", "/tree/etc"]) machine.put(`${place}/latchkey/odd.key`, "a token");
    expect(await findings(machine)).toEqual(["failure: a key is in the image: /etc/latchkey/odd.key"]);
    expect(await findings(machine, true, ["/etc/latchkey/odd.key"])).toEqual([]);
  });

  test("compares a configuration behind links", async () => {
    using machine = goodImage();
    machine.put("/elsewhere/root.jwe", "a token");
    symlinkSync("../../elsewhere", join(machine.root, "etc/latchkey/more"));
    symlinkSync("nowhere", join(machine.root, "etc/latchkey/dangling"));
    symlinkSync(".", join(machine.root, "etc/latchkey/circle"));
    const missing = "failure: /etc/latchkey/more/root.jwe is not in the image";
    expect(await findings(machine)).toEqual([missing]);
    machine.put("/tree/etc/latchkey/more/root.jwe", "a token");
    expect(await findings(machine)).toEqual([]);
  });

  test("only notes what this machine can do without", async () => {
    using machine = goodImage();
    rmSync(join(machine.root, MODULES), { recursive: true });
    rmSync(join(machine.root, "tree/usr/sbin/bcachefs"));
    const found = await findings(machine, false);
    expect(found.map((line) => line.slice(0, 5))).toEqual(["note:", "note:"]);
  });

  describe("of LUKS", () => {
    const withPrograms = (...paths: readonly string[]): FakeMachine => {
      const machine = goodImage();
      for (const path of paths) machine.put(`/tree${path}`, "", 0o755);
      return machine;
    };
    const complaint = (what: string) => [`failure: the image is to open a LUKS volume, and has no ${what}`];

    test("asks for nothing where no volume is named", async () => {
      using machine = withPrograms("/usr/bin/systemd-cryptsetup");
      machine.put("/tree/etc/cmdline.d/00-btrfs.conf", " rd.driver.pre=btrfs");
      expect(await findings(machine)).toEqual([]);
    });

    test("misses what opens a volume of crypttab, or of the command line in the image", async () => {
      using tabbed = withPrograms("/usr/bin/systemd-cryptsetup");
      tabbed.put("/tree/etc/crypttab", "root UUID=1 none luks\n");
      expect(await findings(tabbed)).toEqual(complaint("cryptsetup"));
      using told = withPrograms();
      told.put("/tree/etc/cmdline.d/90crypt.conf", " rd.luks.uuid=luks-1\n");
      expect(await findings(told)).toEqual(complaint("cryptsetup and no systemd-cryptsetup"));
    });

    test.each(["/usr/bin/systemd-cryptsetup", "/usr/lib/systemd/systemd-cryptsetup"])(
      "is content with %s",
      async (path) => {
        using machine = withPrograms("/usr/sbin/cryptsetup", path);
        machine.put("/tree/etc/crypttab", "root UUID=1 none luks\n");
        expect(await findings(machine)).toEqual([]);
      },
    );
  });

  test("where nothing may be run, compares the program's bytes", async () => {
    using machine = goodImage({ version: failed(126), libraries: failed(126) });
    expect(await findings(machine)).toEqual([
      "note: its libraries were not looked at: nothing can be run in /var/tmp (noexec)",
    ]);
    machine.put("/tree/usr/bin/latchkey", "stripped", 0o755);
    expect((await findings(machine))[0]).toContain("differs from /usr/bin/latchkey");
  });
});
