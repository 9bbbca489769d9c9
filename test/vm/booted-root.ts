/**
 * A system that is up: Debian's own root with its systemd and udev, for what only happens after the boot. It starts from an unencrypted
 * disk through an image that knows nothing of latchkey; the units and the rule are those that `latchkey install` puts there.
 */
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { bootedFiles } from "../../src/stacks/booted-files.ts";
import { cached, contentHash, removeAsRoot } from "./cache.ts";
import { type Files, overlay, writeFiles } from "./files.ts";
import { type Guest, guest } from "./guest/chroot.ts";
import { runInside } from "./guest/inside.ts";
import { buildInitrd, smallMachineDrivers } from "./initrd.ts";
import { Machine, type MachineOptions } from "./machine.ts";
import { seconds } from "./patience.ts";
import { rootSays } from "./root-tree.ts";

/** Raise when the recipe below changes. */
const RECIPE = 1;

const UUID = "6c617463-6865-4b65-8000-00000000b007";

const rootMount = `UUID=${UUID} / ext4 defaults 0 0\n`;

/** Of Debian's units, what only takes time here, or the serial line. */
const masked = [
  ...["serial-getty@ttyS0.service", "getty@tty1.service", "getty-static.service", "e2scrub_reap.service"],
  ...["timers.target", "systemd-pstore.service", "systemd-binfmt.service", "systemd-hwdb-update.service"],
  ...["ldconfig.service", "systemd-sysusers.service", "systemd-journal-catalog-update.service"],
  ...["systemd-update-done.service", "systemd-udev-load-credentials.service", "systemd-random-seed.service"],
  ...["modprobe@drm.service", "modprobe@configfs.service", "modprobe@fuse.service", "systemd-journal-flush.service"],
  ...["sys-kernel-debug.mount", "sys-kernel-tracing.mount", "dev-hugepages.mount", "dev-mqueue.mount"],
];

/** A shell for `machine.shell`, as soon as services start: also when others wait. */
const SHELL = `[Unit]
Description=The test's shell
[Service]
StandardInput=tty-force
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
ExecStart=/bin/sh -c 'dmesg -n 1; echo "${rootSays.shell}"; PS1="vm# " exec sh -i'
`;

const system: Files = {
  "/etc/hostname": "vm\n",
  "/etc/machine-id": "6c617463686b65790000000000000002\n",
  "/etc/systemd/journald.conf.d/vm.conf": "[Journal]\nStorage=volatile\n",
  "/etc/systemd/system/default.target": { link: "/usr/lib/systemd/system/multi-user.target" },
  "/etc/systemd/system/vm-shell.service": SHELL,
  "/etc/systemd/system/multi-user.target.wants/vm-shell.service": { link: "/etc/systemd/system/vm-shell.service" },
  ...Object.fromEntries(masked.map((name) => [`/etc/systemd/system/${name}`, { link: "/dev/null" }])),
  ...Object.fromEntries(bootedFiles.map(({ path, text, mode }) => [path, { content: text, mode }])),
};

/** Runs in the guest: everything of it but the kernel goes into the filesystem. A bind mount leaves out what is mounted below. */
const MAKE = `
cd /mnt
rm -rf /boot/* /var/lib/apt/lists/* /var/cache/*
cp -r files/. /
mount --bind / /media
truncate -s 1G root.img
mkfs.ext4 -q -F -U "$1" -m 0 -O ^has_journal -d /media root.img
umount /media
chmod 644 root.img
`;

async function rootImage(debian: Guest, binary: string): Promise<string> {
  const directory = await cached({
    kind: "images",
    name: "booted-root",
    inputs: { RECIPE, MAKE, system, UUID, guest: debian.key, binary: contentHash(binary) },
    keep: 2,
    within: seconds(180),
    build: async (unfinished) => {
      const files = join(unfinished, "files");
      writeFiles(files, system);
      await cp(binary, join(files, "usr/bin/latchkey"));
      await runInside(debian, MAKE, {
        purpose: "making the root of a system that is up",
        within: seconds(120),
        exchange: unfinished,
        arguments: [UUID],
        log: join(unfinished, "make.log"),
      });
      await removeAsRoot(files);
    },
  });
  return join(directory, "root.img");
}

/** Drivers that a booted system loads for what QEMU emulates, and that no test has a use for: seconds of an emulated processor. */
const unused = [
  "kvm_amd",
  "kvm_intel",
  "ccp",
  "powernow_k8",
  "acpi_cpufreq",
  "lpc_ich",
  "iTCO_wdt",
  "i2c_i801",
  "pcspkr",
];

/** Hooks and scripts of what opens encrypted roots: this one is none. */
const absent = ["clevis", "cryptroot", "cryptroot-unlock", "bcachefs", "btrfs"].flatMap((name) =>
  ["hooks", "scripts/local-top", "scripts/local-block", "scripts/local-premount", "scripts/local-bottom"].map(
    (folder) => `/usr/share/initramfs-tools/${folder}/${name}`,
  ),
);

/**
 * The image's last step: the files go into the root that is about to start. The ORDER file is the list by which a boot goes; Debian's
 * own step is udev's.
 */
const COPY = "/scripts/init-bottom/vm-files";
const copyIntoRoot: Files = {
  [COPY]: { content: '#!/bin/sh\ncp -a /vm-files/. "$rootmnt/"\n', mode: 0o755 },
  "/scripts/init-bottom/ORDER": `${COPY} "$@"\n/scripts/init-bottom/udev "$@"\n`,
};

export interface BootedOptions extends Partial<Omit<MachineOptions, "name" | "guest" | "initrd" | "overlays">> {
  /** The compiled latchkey, at /usr/bin/latchkey. */
  readonly binary: string;
  /** Only this machine's: /etc/latchkey/latchkey.toml, /etc/crypttab, units. No path may go through a link (/lib, /bin). */
  readonly files?: Files;
  /** Lines of fstab beside the root's. */
  readonly fstab?: string;
}

/**
 * Starts such a system; its root is /dev/vda, and the given disks follow. `machine.shell` runs commands once services start, and
 * waits for that. Nothing is said of a real root: `machine.realRoot` is for the tiny one.
 */
export async function startBooted(name: string, options: BootedOptions): Promise<Machine> {
  const { binary, files = {}, fstab = "", disks = [], commandLine = [], ...others } = options;
  const debian = await guest("initramfs-tools");
  const own: Files = { "/etc/fstab": `${rootMount}${fstab}`, ...files };
  const inRoot = Object.fromEntries(Object.entries(own).map(([path, file]) => [`/vm-files${path}`, file]));
  return Machine.start({
    name,
    guest: debian,
    initrd: await buildInitrd(debian, { stack: "initramfs-tools", binary: null, absent, drivers: smallMachineDrivers }),
    overlays: [overlay({ ...copyIntoRoot, ...inRoot })],
    disks: [{ file: await rootImage(debian, binary), serial: "booted-root" }, ...disks],
    commandLine: [`root=UUID=${UUID}`, "rw", `modprobe.blacklist=${unused.join(",")}`, ...commandLine],
    ...others,
  });
}
