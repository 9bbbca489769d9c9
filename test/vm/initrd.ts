import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { initramfsToolsFiles } from "../../src/stacks/initramfs-tools/files.ts";
import { cached, contentHash, removeAsRoot, repository } from "./cache.ts";
import { type Files, writeFiles } from "./files.ts";
import type { Guest } from "./guest/chroot.ts";
import { runInside } from "./guest/inside.ts";
import type { Stack } from "./guest/packages.ts";
import { seconds } from "./patience.ts";

/** Raise when the recipe below changes. */
const RECIPE = 1;

/** Kernel modules by name: a generic image with all drivers boots three seconds slower. */
export const smallMachineDrivers = [
  ...["virtio_blk", "virtio_net", "virtio_scsi", "ext4", "bcachefs", "overlay", "loop"],
  ...["vfat", "nls_cp437", "nls_ascii", "nls_utf8", "nls_iso8859-1"],
  ...["usb_storage", "uas", "xhci_pci", "xhci_hcd", "sd_mod"],
  ...["dm_mod", "dm_crypt", "xts", "essiv", "authenc", "cbc", "aesni_intel", "sha256_ssse3"],
  ...["chacha20_generic", "chacha20_x86_64", "chacha_generic", "poly1305_generic", "poly1305_x86_64"],
] as const;

export interface InitrdOptions {
  readonly stack: Stack;
  /** The compiled latchkey to install, or null for an image that knows nothing of latchkey. */
  readonly binary: string | null;
  /** Where latchkey's dracut module is; ignored without a binary and with initramfs-tools. */
  readonly module?: string;
  /** Files of /etc/latchkey by name, as they are when the image is built. */
  readonly config?: Files;
  /** Files of the system that are taken away first, as if their package were not installed: "/usr/sbin/bcachefs". */
  readonly absent?: readonly string[];
  /** More files of the system that the image is built in, by absolute path: /etc/crypttab and the like. */
  readonly system?: Files;
  readonly drivers?: readonly string[];
  /** dracut modules. */
  readonly add?: readonly string[];
  readonly omit?: readonly string[];
  /** Programs and other files that go along; dracut only. */
  readonly install?: readonly string[];
  /** `usual`: as the stack compresses by itself, for measurements. `quick`, the default: larger, and made in a third of the time. */
  readonly compression?: "quick" | "usual";
  /**
   * Builds with this command instead of a call of the stack: `["latchkey", "install", "dracut"]`, the way a user does it. It
   * has to leave the image at `commandImage`, by default Debian's /boot/initrd.img-VERSION.
   */
  readonly command?: readonly string[];
  readonly commandImage?: string;
}

/**
 * Runs in the guest: the files go to their places, then the given command builds. dracut does not fail for a missing module, nor
 * mkinitramfs for a device that it finds no use for.
 */
const BUILD = `
image=$1; absent=$2; shift 2
rm -f $absent
cp -r /mnt/files/. /
"$@" 2>/mnt/build.log || { cat /mnt/build.log >&2; exit 1; }
if grep -E 'dracut\\[E\\]|cannot be found|^E: ' /mnt/build.log >&2; then exit 1; fi
[ "$image" = /mnt/initrd.img ] || cp "$image" /mnt/initrd.img
chmod 644 /mnt/initrd.img /mnt/build.log
`;

/** The initrd that these options make, from the cache or built now (10 to 25 s). */
export async function buildInitrd(guest: Guest, options: InitrdOptions): Promise<string> {
  const { binary, config = {}, absent = [] } = options;
  const module = options.module ?? join(repository, "initrd-hooks", options.stack);
  const command =
    options.command ?? (options.stack === "dracut" ? dracut(guest, options) : mkinitramfs(guest, options));
  const system = options.stack === "dracut" ? (options.system ?? {}) : { ...smallImage(options), ...options.system };
  const image = options.command
    ? (options.commandImage ?? `/boot/initrd.img-${guest.kernelVersion}`)
    : "/mnt/initrd.img";
  const latchkey = binary === null ? null : { binary: contentHash(binary), module: contentHash(module) };
  const directory = await cached({
    kind: "initrds",
    name: `${options.stack}-${binary === null ? "without" : "with"}-latchkey`,
    inputs: { RECIPE, BUILD, guest: guest.key, latchkey, config, system, absent, command, image },
    keep: 6,
    within: seconds(300),
    build: async (unfinished) => {
      const files = join(unfinished, "files");
      await mkdir(files);
      writeFiles(files, system);
      writeFiles(join(files, "etc/latchkey"), config);
      if (binary !== null) await cp(binary, join(files, "usr/bin/latchkey"));
      // A command is to put the hooks in place itself.
      if (binary !== null && !options.command) await installHooks[options.stack](files, module);
      await runInside(guest, BUILD, {
        purpose: `building an initrd with ${basename(command[0] ?? "")}`,
        within: seconds(300),
        exchange: unfinished,
        arguments: [image, absent.join(" "), ...command],
        log: join(unfinished, "console.log"),
      });
      await removeAsRoot(files);
    },
  });
  return join(directory, "initrd.img");
}

/** What `latchkey install` puts where. */
const installHooks: Readonly<Record<Stack, (files: string, module: string) => Promise<void>>> = {
  dracut: async (files, module) => {
    await cp(module, join(files, "usr/lib/dracut/modules.d/90latchkey"), { recursive: true });
    for (const name of await readdir(module)) {
      if (name.endsWith("-latchkey.conf") && /^\d/.test(name)) {
        await cp(join(module, name), join(files, "etc/dracut.conf.d", name));
      }
    }
  },
  "initramfs-tools": async (files) => {
    writeFiles(
      files,
      Object.fromEntries(initramfsToolsFiles.map(({ path, text, mode }) => [path, { content: text, mode }])),
    );
  },
};

function mkinitramfs(guest: Guest, { compression = "quick" }: InitrdOptions): readonly string[] {
  const quick = compression === "quick" ? ["-c", "zstd", "-l", "3"] : [];
  return ["mkinitramfs", ...quick, "-o", "/mnt/initrd.img", guest.kernelVersion];
}

/** Without the drivers of all other machines. A hook names them, for those in the file `modules` are loaded at every boot. */
function smallImage({ drivers = smallMachineDrivers }: InitrdOptions): Files {
  const hook = `#!/bin/sh
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules virtio_pci ${drivers.join(" ")}
`;
  return {
    "/etc/initramfs-tools/conf.d/vm": "MODULES=list\n",
    "/etc/initramfs-tools/hooks/vm-drivers": { content: hook, mode: 0o755 },
  };
}

function dracut(guest: Guest, options: InitrdOptions): readonly string[] {
  const { binary, drivers = smallMachineDrivers, add = [], omit = [], install = [], compression = "quick" } = options;
  const modules = binary === null ? add : ["latchkey", ...add];
  const list = (option: string, names: readonly string[]) => (names.length === 0 ? [] : [option, names.join(" ")]);
  return [
    ...["dracut", "--quiet", "--force", "--no-hostonly", "--kver", guest.kernelVersion],
    ...(compression === "quick" ? ["--compress", "zstd -3 -q -T0"] : ["--zstd"]),
    ...list("--drivers", drivers),
    ...list("--add", modules),
    // The btrfs module makes the kernel measure its raid6 routines at every boot.
    ...list("--omit", add.includes("btrfs") ? omit : ["btrfs", ...omit]),
    ...list("--install", install),
    "/mnt/initrd.img",
  ];
}

/** The initrd with more files appended, each overlay a compressed cpio of its own. Costs a copy, not a build. */
export async function appendOverlays(initrd: string, overlays: readonly Uint8Array[], target: string): Promise<string> {
  if (!existsSync(initrd)) throw new Error(`no initrd at ${initrd}`);
  await Bun.write(target, new Blob([await readFile(initrd), ...overlays]));
  return target;
}
