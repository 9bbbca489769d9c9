import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chooseStack } from "../../../src/stacks/choose-stack.ts";
import { lookAtStack } from "../../../src/stacks/facts.ts";
import { auditImage } from "../../../src/stacks/image-audit.ts";
import { initramfsToolsFiles } from "../../../src/stacks/initramfs-tools/files.ts";
import { initramfsTools } from "../../../src/stacks/initramfs-tools/stack.ts";
import type { RunProgram } from "../../../src/stacks/machine.ts";
import { makeImage } from "../../../src/stacks/make-image.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { FakeMachine, failed, said } from "./fake-machine.ts";

const THIS = "latchkey 1.0.0 (build this)";
const IMAGE = "/boot/initrd.img-6.12";

/** As cache_run_scripts() of initramfs-tools writes it. */
const order = (folder: string, ...names: readonly string[]): string =>
  names.map((name) => `/scripts/${folder}/${name} "$@"\n[ -e /conf/param.conf ] && . /conf/param.conf\n`).join("");

/** A machine with a good image unpacked in /tree. */
function goodImage(): FakeMachine {
  const machine = new FakeMachine(async ([program = ""]) => said(program === "chroot" ? "" : THIS));
  machine.put("/usr/bin/latchkey", "the program", 0o755);
  machine.put("/tree/usr/bin/latchkey", "the program", 0o755);
  for (const { text, inImage } of initramfsToolsFiles) for (const path of inImage) machine.put(`/tree${path}`, text);
  machine.put("/tree/scripts/local-top/ORDER", order("local-top", "clevis", "latchkey", "cryptroot"));
  machine.put("/tree/scripts/local-block/ORDER", order("local-block", "00-latchkey", "cryptroot", "mdadm"));
  machine.put("/tree/scripts/local-premount/ORDER", order("local-premount", "latchkey", "resume"));
  machine.put("/tree/scripts/local-bottom/ORDER", order("local-bottom", "cryptroot", "latchkey"));
  machine.put("/tree/usr/bin/timeout", "", 0o755);
  machine.put("/tree/usr/sbin/blkid", "", 0o755);
  machine.put("/tree/usr/lib/latchkey/version", `${THIS}\n`);
  machine.put("/tree/usr/lib/latchkey/bcachefs-question", "", 0o755);
  machine.put("/tree/usr/lib/cryptsetup/askpass", "", 0o755);
  machine.put("/tree/usr/lib/modules/6.12/modules.dep", "kernel/fs/bcachefs.ko.xz:\n");
  machine.put("/tree/usr/lib/modules/6.12/kernel/fs/bcachefs.ko.xz", "");
  return machine;
}

async function findings(machine: FakeMachine): Promise<string[]> {
  const found = await auditImage(machine, initramfsTools, "/tree", {
    kernel: "6.12",
    versionLine: THIS,
    keyFiles: [],
    files: [],
    hasRemote: false,
    needsBcachefs: true,
  });
  return found.filter(({ level }) => level !== "ok").map(({ level, text }) => `${level}: ${text}`);
}

describe("the audit of an image of initramfs-tools", () => {
  test("finds nothing in a good one", async () => {
    using machine = goodImage();
    expect(await findings(machine)).toEqual([]);
  });

  test.each<[string, string, string]>([
    [
      "local-top",
      order("local-top", "clevis", "cryptroot"),
      "failure: /scripts/local-top/ORDER in the image does not start latchkey",
    ],
    [
      "local-top",
      order("local-top", "cryptroot", "latchkey"),
      "failure: /scripts/local-top/ORDER in the image starts cryptroot before latchkey",
    ],
    [
      "local-block",
      order("local-block", "cryptroot", "00-latchkey"),
      "failure: /scripts/local-block/ORDER in the image starts cryptroot before 00-latchkey",
    ],
    [
      "local-premount",
      order("local-premount", "bcachefs", "latchkey"),
      "failure: /scripts/local-premount/ORDER in the image starts bcachefs before latchkey",
    ],
    ["local-bottom", "", "failure: /scripts/local-bottom/ORDER in the image does not start latchkey"],
  ])("minds the order of %s: %s", async (folder, text, expected) => {
    using machine = goodImage();
    machine.put(`/tree/scripts/${folder}/ORDER`, text);
    expect(await findings(machine)).toEqual([expected]);
  });

  test.each<[string, string]>([
    ["/scripts/latchkey", "failure: /scripts/latchkey is not in the image"],
    ["/usr/bin/timeout", "failure: the scripts cannot start latchkey: timeout not in the image"],
    ["/usr/lib/latchkey/version", "failure: /usr/lib/latchkey/version is not in the image"],
    ["/usr/lib/cryptsetup/askpass", "note: askpass of cryptsetup-initramfs is not in the image"],
    ["/usr/lib/latchkey/bcachefs-question", "note: bcachefs-tools is not in the image"],
  ])("misses %s", async (path, expected) => {
    using machine = goodImage();
    rmSync(join(machine.root, "tree", path));
    const [found = "", ...others] = await findings(machine);
    expect(found).toStartWith(expected);
    expect(others).toEqual([]);
  });
});

/** mkinitramfs writes an image; what unmkinitramfs makes of it is the test's. */
const tools =
  (unpack: (folder: string) => void, status = 0): RunProgram =>
  async ([program, ...rest]) => {
    if (program === "mkinitramfs") {
      writeFileSync(rest[1] ?? "", "new image");
      return { status, stdout: "", stderr: "W: something is odd\nI: not for people\nE: a hook failed\n" };
    }
    if (program === "unmkinitramfs") unpack(rest[1] ?? "");
    // cp --archive --no-clobber, for the parts of an image
    if (program === "cp") Bun.spawnSync(["cp", ...rest]);
    return said("");
  };

const step = { do: "image", kernel: "6.12", image: IMAGE, latchkey: true, keepOld: true } as const;

async function make(machine: FakeMachine): Promise<{ error: string; printed: string[]; tree: string[] }> {
  const printed: string[] = [];
  const tree: string[] = [];
  const audit = async (folder: string) => {
    tree.push(...machine.files.walk(folder).map((path) => path.slice(folder.length)));
    return [];
  };
  try {
    await makeImage(machine, initramfsTools, step, audit, (line) => printed.push(line));
    return { error: "", printed, tree };
  } catch (thrown) {
    if (!(thrown instanceof LatchkeyError)) throw thrown;
    return { error: `${thrown.code}: ${thrown.message}`, printed, tree };
  }
}

describe("an image of initramfs-tools is made", () => {
  test("by mkinitramfs, and looked at whole when archives lie in front of it", async () => {
    using machine = new FakeMachine(
      tools((folder) => {
        for (const path of ["early/kernel/microcode", "early2/usr/lib/modules/x.ko.xz", "main/init"]) {
          mkdirSync(join(folder, path, ".."), { recursive: true });
          writeFileSync(join(folder, path), "");
        }
      }),
    );
    machine.put(IMAGE, "old image");
    const made = await make(machine);
    expect(made.error).toBe("");
    expect(made.tree).toEqual(["/init", "/kernel/microcode", "/usr/lib/modules/x.ko.xz"]);
    expect(made.printed.slice(0, 2)).toEqual(["  W: something is odd", "  E: a hook failed"]);
    expect(machine.commands[0]?.slice(0, 2)).toEqual(["mkinitramfs", "-o"]);
    expect(machine.files.readText(IMAGE)).toBe("new image");
    expect(machine.files.readText(`${IMAGE}.latchkey-old`)).toBe("old image");
  });

  test("from one archive", async () => {
    using machine = new FakeMachine(tools((folder) => writeFileSync(join(folder, "init"), "")));
    expect((await make(machine)).tree).toEqual(["/init"]);
  });

  test("never over the old one when a hook fails or nothing can be unpacked", async () => {
    using failing = new FakeMachine(tools(() => undefined, 1));
    failing.put(IMAGE, "old image");
    expect((await make(failing)).error).toBe(
      "install/build-failed: mkinitramfs could not build an image for kernel 6.12 (status 1): E: a hook failed",
    );
    expect(failing.files.readText(IMAGE)).toBe("old image");
    using empty = new FakeMachine(tools(() => undefined));
    empty.put(IMAGE, "old image");
    expect((await make(empty)).error).toStartWith("install/audit-failed: the new image cannot be unpacked");
    expect(existsSync(join(empty.root, `${IMAGE}.latchkey-old`))).toBe(false);
  });

  test("and an old one with latchkey in it is not kept", async () => {
    using machine = new FakeMachine(async (command, options) =>
      command[0] === "lsinitramfs"
        ? said("usr/bin\nusr/bin/latchkey\nusr/lib")
        : tools((folder) => writeFileSync(join(folder, "init"), ""))(command, options),
    );
    machine.put(IMAGE, "old image");
    await make(machine);
    expect(machine.files.list("/boot")).toEqual(["initrd.img-6.12"]);
  });
});

describe("what builds the initrd here", () => {
  const withTools = (...names: readonly string[]): FakeMachine => {
    const machine = new FakeMachine(async ([program = ""]) =>
      program === "dracut" && !names.includes("dracut") ? failed(127) : said("dracut 106-6"),
    );
    if (names.includes("mkinitramfs")) machine.put("/usr/sbin/mkinitramfs", "", 0o755);
    return machine;
  };
  const chosen = async (machine: FakeMachine, named?: string): Promise<string> => {
    try {
      return (await chooseStack(machine, named)).name;
    } catch (thrown) {
      if (!(thrown instanceof LatchkeyError)) throw thrown;
      return `${thrown.code}: ${thrown.message} | ${thrown.hint}`;
    }
  };

  test.each<[readonly string[], string | undefined, string]>([
    [["dracut"], undefined, "dracut"],
    [["mkinitramfs"], undefined, "initramfs-tools"],
    [["mkinitramfs"], "dracut", "dracut"],
    [["dracut", "mkinitramfs"], "initramfs-tools", "initramfs-tools"],
    [
      ["dracut", "mkinitramfs"],
      undefined,
      "install/several-stacks: this machine has dracut and initramfs-tools | say which",
    ],
    [[], undefined, "install/no-stack: nothing that builds an initrd is installed here: dracut, initramfs-tools | "],
    [
      ["dracut"],
      "mkinitcpio",
      "usage/invalid: latchkey does not know how to install into mkinitcpio | it knows: dracut, init",
    ],
  ])("with %j installed and %s named: %s", async (installed, named, expected) => {
    using machine = withTools(...installed);
    expect(await chosen(machine, named)).toStartWith(expected);
  });
});

test("crypttab's lines with our keyscript are noticed, and others are not", async () => {
  using machine = new FakeMachine(async () => said(THIS));
  machine.put(
    "/etc/crypttab",
    `root UUID=1 none luks,keyscript=latchkey
swap UUID=2 none luks,keyscript=/lib/cryptsetup/scripts/latchkey
home UUID=3 none luks,keyscript=/usr/lib/cryptsetup/scripts/latchkey,discard
data UUID=4 none luks,keyscript=decrypt_keyctl
more UUID=5 none luks,initramfs
`,
  );
  expect((await lookAtStack(machine, initramfsTools)).keyscriptVolumes).toEqual(["root", "swap", "home"]);
});
