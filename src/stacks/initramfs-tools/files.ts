import cryptrootUnlock from "../../../initrd-hooks/initramfs-tools/cryptroot-unlock.sh" with { type: "text" };
import functions from "../../../initrd-hooks/initramfs-tools/functions.sh" with { type: "text" };
import hook from "../../../initrd-hooks/initramfs-tools/hook.sh" with { type: "text" };
import keymap from "../../../initrd-hooks/initramfs-tools/keymap.conf" with { type: "text" };
import keyscript from "../../../initrd-hooks/initramfs-tools/keyscript.sh" with { type: "text" };
import localBlock from "../../../initrd-hooks/initramfs-tools/local-block.sh" with { type: "text" };
import localBottom from "../../../initrd-hooks/initramfs-tools/local-bottom.sh" with { type: "text" };
import localPremount from "../../../initrd-hooks/initramfs-tools/local-premount.sh" with { type: "text" };
import localTop from "../../../initrd-hooks/initramfs-tools/local-top.sh" with { type: "text" };
import type { CarriedFile } from "../carried-file.ts";
import { initramfsToolsRemoteFiles } from "../remote/initramfs-tools-files.ts";

/** For what is not a package's: mkinitramfs reads it after /usr/share/initramfs-tools, and no package replaces it. */
const CONFIGURATION = "/etc/initramfs-tools";

/** Ours alone, on the system and in the image. */
export const LIBRARY_FOLDER = "/usr/lib/latchkey";

/** Debian's scripts look here for what crypttab names without a path: keyscript=latchkey. */
const KEYSCRIPT = "/usr/lib/cryptsetup/scripts/latchkey";

/**
 * cryptroot sees to being the last script of local-top, and the one of Debian 12 looks only here for those that it has to come
 * after.
 */
const BESIDE_CRYPTROOT = "/usr/share/initramfs-tools";

/** A boot script: mkinitramfs copies it to the same place below /scripts. */
function script(path: string, text: string, folder = CONFIGURATION): CarriedFile {
  return { path: `${folder}/scripts/${path}`, mode: 0o755, text, inImage: [`/scripts/${path}`] };
}

/** Everything `latchkey install initramfs-tools` writes besides the program. */
export const initramfsToolsFiles: readonly CarriedFile[] = [
  { path: `${CONFIGURATION}/hooks/latchkey`, mode: 0o755, text: hook, inImage: [] },
  { path: `${CONFIGURATION}/conf.d/latchkey`, mode: 0o644, text: keymap, inImage: [] },
  script("latchkey", functions),
  script("local-top/latchkey", localTop, BESIDE_CRYPTROOT),
  script("local-block/00-latchkey", localBlock),
  script("local-premount/latchkey", localPremount),
  script("local-bottom/latchkey", localBottom),
  // In the image where crypttab names it: cryptsetup-initramfs sees to that.
  { path: KEYSCRIPT, mode: 0o755, text: keyscript, inImage: [] },
  // In the image where there is Debian's own.
  { path: `${LIBRARY_FOLDER}/cryptroot-unlock`, mode: 0o755, text: cryptrootUnlock, inImage: [] },
  ...initramfsToolsRemoteFiles,
];

/** A boot script that has to run, and those in its folder that it has to come before. */
export interface BootScript {
  readonly folder: string;
  readonly name: string;
  readonly before: readonly string[];
}

/** What the ORDER files of an image have to say, by which its boot runs the scripts. */
export const initramfsToolsOrder: readonly BootScript[] = [
  { folder: "local-top", name: "latchkey", before: ["cryptroot"] },
  { folder: "local-block", name: "00-latchkey", before: ["cryptroot"] },
  { folder: "local-premount", name: "latchkey", before: ["bcachefs"] },
  { folder: "local-bottom", name: "latchkey", before: [] },
];
