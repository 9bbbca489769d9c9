import { describe, expect, test } from "bun:test";
import { rmSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { missingKeyscripts } from "../../../../src/commands/check/gather.ts";
import { gatherImages, type ImageWishes, stacksHere } from "../../../../src/commands/check/gather-images.ts";
import { gatherRemote } from "../../../../src/commands/check/gather-remote.ts";
import { gatherRoot } from "../../../../src/commands/check/gather-root.ts";
import { gathered, gatheredNow, isDenied } from "../../../../src/commands/check/gathered.ts";
import { judgeImages } from "../../../../src/commands/check/judge-images.ts";
import { judgeRemote } from "../../../../src/commands/check/judge-remote.ts";
import { parseCrypttab } from "../../../../src/config/crypttab.ts";
import { remoteDefaults } from "../../../../src/config/toml-remote.ts";
import { dracutFiles, dracutUnits } from "../../../../src/stacks/dracut/files.ts";
import { dracut } from "../../../../src/stacks/dracut/stack.ts";
import { initramfsTools } from "../../../../src/stacks/initramfs-tools/stack.ts";
import type { Machine } from "../../../../src/stacks/machine.ts";
import { thisMachine } from "../../../../src/stacks/this-machine.ts";
import { type Clock, monotonicClock } from "../../../../src/system/clock.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { FakeMachine, failed, said } from "../../stacks/fake-machine.ts";

const signal = new AbortController().signal;
/** Time runs out at once. */
const hasty: Clock = { now: () => 0, sleep: async () => undefined };

describe("a gatherer", () => {
  test("that hangs is a finding, and is told to end", async () => {
    const ends: AbortSignal[] = [];
    const late = await gathered("the TPM", 5000, hasty, signal, (until) => {
      ends.push(until);
      return new Promise<never>(() => undefined);
    });
    expect(late).toMatchObject({ error: { code: "check/no-answer", message: "the TPM did not answer within 5 s" } });
    expect(ends.map(({ aborted }) => aborted)).toEqual([true]);
  });

  test("that is interrupted says so", async () => {
    const late = await gathered(
      "the TPM",
      5000,
      monotonicClock,
      AbortSignal.abort(),
      () => new Promise<never>(() => undefined),
    );
    expect(late).toMatchObject({ error: { message: "the TPM was not looked at: interrupted" } });
  });

  test("that fails is a finding", async () => {
    const error = new LatchkeyError("tpm2/absent", "there is none");
    expect(await gathered("x", 5000, monotonicClock, signal, () => Promise.reject(error))).toEqual({ error });
    const odd = await gathered("x", 5000, monotonicClock, signal, () => Promise.reject(new RangeError("odd")));
    expect(odd).toMatchObject({ error: { code: "internal/defect" } });
  });

  test("that may not read is told from one that found something wrong", () => {
    const fail = (code: string) =>
      gatheredNow("/f", () => {
        throw Object.assign(new Error("no"), { code });
      });
    const denied = fail("EACCES");
    expect(denied).toMatchObject({
      error: { code: "check/unreadable", message: "/f cannot be read (EACCES)", hint: "run it as root" },
    });
    const broken = fail("EIO");
    expect("error" in denied && isDenied(denied.error)).toBe(true);
    expect("error" in broken && isDenied(broken.error)).toBe(false);
  });
});

const IMAGE = "/boot/initramfs-6.12.img";

/** A machine with dracut, a kernel and an image that has all that is installed; unpacking puts `change` into it. */
function withImage(change: (machine: FakeMachine, tree: string) => void = () => undefined): FakeMachine {
  const machine: FakeMachine = new FakeMachine(async ([program = ""], options) => {
    if (program !== "lsinitrd") return program === "dracut" ? said("dracut 110") : failed(127);
    const tree = (options?.folder ?? "").slice(machine.root.length);
    machine.put(`${tree}/usr/bin/latchkey`, "the program", 0o755);
    machine.put(`${tree}/etc/latchkey/latchkey.toml`, "");
    machine.put(`${tree}/etc/latchkey/root.jwe`, "a token");
    for (const { text, inImage } of dracutFiles) for (const path of inImage) machine.put(`${tree}${path}`, text);
    for (const unit of dracutUnits) machine.put(`${tree}/etc/systemd/system/initrd.target.wants/${unit}`, "");
    for (const name of [
      "systemd-ask-password",
      "systemd-tty-ask-password-agent",
      "systemctl",
      "udevadm",
      "bcachefs",
      "cryptsetup",
      "systemd-cryptsetup",
    ]) {
      machine.put(`${tree}/usr/bin/${name}`, "", 0o755);
    }
    machine.put(`${tree}/usr/lib/modules/6.12/modules.builtin`, "kernel/fs/bcachefs/bcachefs.ko\n");
    change(machine, tree);
    return said("");
  });
  machine.put("/usr/lib/modules/6.12/modules.dep", "");
  machine.put(IMAGE, "an image");
  machine.put("/usr/bin/latchkey", "the program", 0o755);
  machine.put("/etc/latchkey/latchkey.toml", "");
  machine.put("/etc/latchkey/root.jwe", "a token");
  return machine;
}

const wishes: ImageWishes = {
  needs: new Set(["luks", "usb", "vfat"]),
  keyFiles: [],
  files: [],
  hasRemote: false,
  wantsBcachefs: true,
};

async function complaints(machine: Machine, more: Partial<ImageWishes> = {}): Promise<readonly string[]> {
  const images = await gatherImages([dracut], { ...wishes, ...more }, () => machine, monotonicClock, signal);
  return judgeImages(images, { volumes: [] }).flatMap(({ severity, text }) =>
    severity === "ok" ? [] : [`${severity}: ${text}`],
  );
}

describe("an initrd", () => {
  test("with what is installed is well; nothing of it is run, and no folder stays", async () => {
    using machine = withImage();
    expect(await complaints(machine)).toEqual([]);
    expect(machine.commands.map(([program]) => program)).toEqual(["lsinitrd"]);
    expect(machine.files.list("/var/tmp")).toEqual([]);
  });

  test.each<[string, (machine: FakeMachine, tree: string) => void, string]>([
    [
      "another program",
      (m, tree) => m.put(`${tree}/usr/bin/latchkey`, "stripped", 0o755),
      "the program in the image is not the installed /usr/bin/latchkey",
    ],
    ["no program", (m, tree) => rmSync(join(m.root, tree, "usr/bin/latchkey")), "latchkey is not in the image"],
    [
      "an earlier configuration",
      (m, tree) => m.put(`${tree}/etc/latchkey/latchkey.toml`, "x"),
      "/etc/latchkey/latchkey.toml in the image differs from the one here",
    ],
    [
      "a token that is newer",
      (m, tree) => rmSync(join(m.root, tree, "etc/latchkey/root.jwe")),
      "/etc/latchkey/root.jwe is not in the image",
    ],
    [
      "an earlier token",
      (m, tree) => m.put(`${tree}/etc/latchkey/root.jwe`, "x"),
      "/etc/latchkey/root.jwe in the image differs from the one here",
    ],
    [
      "no driver of the stick, which the kernel has",
      (m) => {
        m.put("/usr/lib/modules/6.12/modules.dep", "kernel/fs/fat/vfat.ko.xz:\n");
        m.put("/usr/lib/modules/6.12/kernel/fs/fat/vfat.ko.xz", "");
      },
      "the kernel module vfat is not in the image (for vfat)",
    ],
    [
      "a key that nobody wants there",
      (m, tree) => m.put(`${tree}/etc/latchkey/old.key`, "x"),
      "a key is in the image: /etc/latchkey/old.key",
    ],
  ])("with %s is a problem", async (_, change, text) => {
    using machine = withImage(change);
    expect(await complaints(machine)).toEqual([`problem: ${IMAGE}: ${text}`]);
  });

  test.each<[number, readonly string[]]>([
    [-60, [`problem: ${IMAGE}: older than /etc/latchkey/latchkey.toml and 2 more`]],
    [60, []],
  ])("is judged by its age where nobody may look into it: %p s", async (seconds, expected) => {
    using machine = withImage();
    const time = Date.now() / 1000 + seconds;
    utimesSync(join(machine.root, IMAGE), time, time);
    const ordinary = { files: machine.files, run: machine.run, isRoot: false };
    const unseen = `warning: ${IMAGE}: was not looked into (that takes root): only its age was compared`;
    expect(await complaints(ordinary)).toEqual([unseen, ...expected]);
  });

  test("that cannot be unpacked is judged by its age, too", async () => {
    using machine = new FakeMachine(async () => failed(1, "no cpio here"));
    machine.put("/usr/lib/modules/6.12/modules.dep", "");
    machine.put(IMAGE, "an image");
    expect(await complaints(machine)).toEqual([
      `warning: ${IMAGE}: was not looked into (it could not be unpacked: no cpio here): only its age was compared`,
    ]);
  });
});

test("that hangs while it is unpacked leaves no folder, and its program is ended", async () => {
  using machine = withImage();
  const hanging: Machine = { isRoot: true, files: machine.files, run: () => new Promise<never>(() => undefined) };
  const over = new AbortController();
  const running = gatherImages([dracut], wishes, () => hanging, monotonicClock, over.signal);
  while (machine.files.list("/var/tmp").length === 0) await Bun.sleep(5);
  over.abort();
  expect(judgeImages(await running, { volumes: [] })).toMatchObject([
    { severity: "warning", text: "what the initrds hold was not looked at: interrupted" },
  ]);
  expect(machine.files.list("/var/tmp")).toEqual([]);
  const ended = await thisMachine(AbortSignal.timeout(50)).run(["sleep", "600"]);
  expect(ended.status).not.toBe(0);
});

test("of two that could build images, the one with latchkey's files does", async () => {
  using machine = withImage();
  machine.put("/usr/sbin/mkinitramfs", "", 0o755);
  expect((await stacksHere(machine, [dracut, initramfsTools])).length).toBe(2);
  machine.put(initramfsTools.files[0]?.path ?? "", "");
  expect((await stacksHere(machine, [dracut, initramfsTools])).map(({ name }) => name)).toEqual(["initramfs-tools"]);
});

describe("the keys of the SSH server", () => {
  const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEJEREREREREREREREREREREREREREREREREREREREQ me";
  function complaintsOf(machine: FakeMachine): readonly string[] {
    return judgeRemote(gatherRemote(machine, "dracut", remoteDefaults)).flatMap(({ severity, text }) =>
      severity === "ok" ? [] : [`${severity}: ${text}`],
    );
  }

  test("are looked for where the next image gets them from", async () => {
    using machine = new FakeMachine(async () => failed(1));
    expect(complaintsOf(machine)).toEqual([
      "problem: the source remote wants an SSH server, and neither dropbear nor OpenSSH's sshd is installed",
    ]);
    machine.put("/usr/sbin/dropbear", "", 0o755);
    const none = "problem: /etc/latchkey/ssh/dropbear_ed25519_host_key: there is no host key yet";
    expect(complaintsOf(machine)).toEqual([none, "problem: nobody could log in: there are no authorized keys"]);
    machine.put("/root/.ssh/authorized_keys", `command="backup" ${key}\n${key}\n`);
    expect(complaintsOf(machine)[1]).toStartWith(
      "warning: /root/.ssh/authorized_keys, line 1: the key is forced to a command",
    );
    machine.put("/etc/latchkey/authorized_keys", `${key}\n`);
    expect(complaintsOf(machine)).toEqual([none]);
    machine.put("/etc/latchkey/ssh/dropbear_ed25519_host_key", "rubbish", 0o600);
    expect(complaintsOf(machine)).toEqual([
      "problem: /etc/latchkey/ssh/dropbear_ed25519_host_key: it is not a host key",
    ]);
    const real = join(import.meta.dir, "../../../fixtures/ssh/dropbear-ed25519");
    await Bun.write(join(machine.root, "etc/latchkey/ssh/dropbear_ed25519_host_key"), Bun.file(real));
    expect(complaintsOf(machine)).toEqual([]);
    expect(machine.commands).toEqual([]);
  });
});

describe("an image", () => {
  test("without a network is a problem where a token wants one", async () => {
    using offline = withImage();
    expect(await complaints(offline, { needs: new Set(["network"]) })).toEqual([
      `problem: ${IMAGE}: a token wants a Tang server, and the image brings no network up`,
    ]);
    using online = withImage((m, tree) => m.put(`${tree}/etc/cmdline.d/90.conf`, "rd.neednet=1\n"));
    expect(await complaints(online, { needs: new Set(["network"]) })).toEqual([]);
    using asked = withImage();
    asked.put("/proc/cmdline", "ip=dhcp rd.neednet=1 quiet\n");
    expect(await complaints(asked, { needs: new Set(["network"]) })).toEqual([]);
  });

  test("without bcachefs is told of only where a volume is one", async () => {
    using machine = withImage((m, tree) => rmSync(join(m.root, tree, "usr/lib/modules"), { recursive: true }));
    expect((await complaints(machine)).join("\n")).toContain("the bcachefs module of kernel 6.12 is not in the image");
    expect(await complaints(machine, { wantsBcachefs: false })).toEqual([]);
  });

  test.each<[string, string, boolean]>([
    ["that was made for it", "/usr/lib/latchkey/needs", true],
    ["where dropbear does", "/scripts/init-premount/dropbear", true],
    ["with neither", "/scripts/init-premount/other", false],
  ])("of initramfs-tools brings a network up: %s", (_, path, expected) => {
    using machine = new FakeMachine(async () => failed(1));
    machine.put(`/tree${path}`, "luks network\n");
    expect(initramfsTools.bringsNetwork(machine, "/tree")).toBe(expected);
  });

  test("is told what to open by its crypttab, its command line and the machine's", async () => {
    using machine = withImage((m, tree) => {
      m.put(`${tree}/etc/crypttab`, "root UUID=1 none\n");
      m.put(`${tree}/etc/cmdline.d/90crypt.conf`, "rd.luks.uuid=2\n");
    });
    machine.put("/proc/cmdline", "rd.luks.uuid=3\n");
    const images = await gatherImages([dracut], wishes, () => machine, monotonicClock, signal);
    const [first] = "value" in images ? images.value.images : [];
    expect(first?.content).toMatchObject({
      value: { namesVolumes: "root UUID=1 none\n\nrd.luks.uuid=2\n\nrd.luks.uuid=3\n" },
    });
  });
});

describe("the root that runs now", () => {
  test("is known by what the device mapper calls its layers", () => {
    using machine = new FakeMachine(async () => failed(1));
    machine.put("/sys/class/block/dm-1/dm/uuid", "LVM-a8xvDE8cQzhm\n");
    machine.put("/sys/class/block/dm-0/dm/uuid", "CRYPT-LUKS2-6c61746368654b658000000000000051-sda2_crypt\n");
    const root = gatherRoot(new Set(["dm-1", "dm-0", "sda2"]), join(machine.root, "sys"));
    expect(root?.mappings).toEqual([{ name: "sda2_crypt", uuid: "6c617463-6865-4b65-8000-000000000051" }]);
    expect(gatherRoot(undefined)).toBeUndefined();
  });
});

test("keyscripts are looked for where Debian's scripts look, and only where they read crypttab", () => {
  using machine = new FakeMachine(async () => failed(1));
  machine.put("/lib/cryptsetup/scripts/there", "#!/bin/sh\n", 0o755);
  machine.put("/etc/not-to-be-run", "", 0o644);
  const lines = ["there", "none", "/etc/not-to-be-run"].map(
    (path) => `v${path.length} /dev/sda1 x luks,keyscript=${path}`,
  );
  const crypttab = { value: parseCrypttab(lines.join("\n"), "/etc/crypttab") };
  expect(missingKeyscripts(machine.files, [initramfsTools], crypttab)).toEqual([
    "/lib/cryptsetup/scripts/none",
    "/etc/not-to-be-run",
  ]);
  expect(missingKeyscripts(machine.files, [dracut], crypttab)).toEqual([]);
});
