import { type Finding, failure, isProgram, note, ok } from "../image-audit.ts";
import type { Machine } from "../machine.ts";
import type { Stack, Unpacked } from "../stack.ts";
import { initramfsToolsFiles, initramfsToolsOrder, LIBRARY_FOLDER } from "./files.ts";

export const initramfsTools: Stack = {
  name: "initramfs-tools",
  files: initramfsToolsFiles,
  // No package has a script for local-block in /etc, so the folder is there for ours.
  folders: [LIBRARY_FOLDER, "/etc/initramfs-tools/scripts/local-block"],
  // bcachefs-tools has a question of its own there.
  bcachefsWarning: undefined,
  advice: {
    rebuild: "run update-initramfs -u -k all before the next boot",
    install: "install the package initramfs-tools",
    compress: "have images compressed more (COMPRESSLEVEL=19 in /etc/initramfs-tools/conf.d)",
    tryOut: "`mkinitramfs -v -o /tmp/try.img` shows all of what mkinitramfs does",
  },
  crypttabsInImage: ["/cryptroot/crypttab"],
  complaints: /^(?:[EW]: |cryptsetup: )/,
  imageCandidates: (kernel) => [`/boot/initrd.img-${kernel}`],
  // Not by what it says: older ones have no --version.
  isInstalled: async ({ files }) => ["/usr/sbin", "/sbin"].some((folder) => files.facts(`${folder}/mkinitramfs`)),
  buildCommand: (kernel, image) => ({ command: ["mkinitramfs", "-o", image, kernel], environment: {} }),
  unpack,
  holdsLatchkey: async ({ files, run }, image) =>
    /^(?:\.?\/)?usr\/bin\/latchkey$/m.test((await run(["lsinitramfs", files.outside(image)])).stdout),
  bringsNetwork: ({ files }, tree) =>
    (files.readText(`${tree}${LIBRARY_FOLDER}/needs`) ?? "").trim().split(" ").includes("network") ||
    files.facts(`${tree}/scripts/init-premount/dropbear`) !== undefined,
  auditBoot: (machine, tree) => [
    auditOrder(machine, tree),
    auditStart(machine, tree),
    auditQuestion(machine, tree),
    auditOwnQuestion(machine, tree),
  ],
};

/**
 * Archives in front of the main one (microcode; in some releases kernel modules that are compressed by themselves) come out beside it,
 * as early, early2 and so on. The kernel unpacks all of them into one tree, and so does this.
 */
async function unpack(machine: Machine, image: string, folder: string): Promise<Unpacked> {
  const { files } = machine;
  const outcome = await machine.run(["unmkinitramfs", files.outside(image), files.outside(folder)]);
  const parts = files.list(folder);
  if (parts.length === 0) return { failure: outcome.stderr.trim() };
  if (!parts.includes("main")) return { tree: folder };
  const main = `${folder}/main`;
  for (const early of parts.filter((name) => /^early\d*$/.test(name))) {
    const merge = ["cp", "--archive", "--no-clobber", "--no-target-directory"];
    await machine.run([...merge, files.outside(`${folder}/${early}`), files.outside(main)]);
  }
  return { tree: main };
}

/** A boot goes by the ORDER files, which mkinitramfs makes: a script that is in none of them is never started. */
function auditOrder({ files }: Machine, tree: string): Finding {
  for (const { folder, name, before } of initramfsToolsOrder) {
    const path = `/scripts/${folder}`;
    const order = files.readText(`${tree}${path}/ORDER`) ?? "";
    const names = [...order.matchAll(/^\/scripts\/[^/\s]+\/([^/\s]+)/gm)].map(([, script = ""]) => script);
    const place = names.indexOf(name);
    if (place === -1) return failure(`${path}/ORDER in the image does not start ${name}`);
    const early = before.find((other) => names.includes(other) && names.indexOf(other) < place);
    if (early !== undefined) return failure(`${path}/ORDER in the image starts ${early} before ${name}`);
  }
  return ok("its scripts are started in their turn");
}

function auditStart(machine: Machine, tree: string): Finding {
  const missing = ["timeout", "blkid"].filter((name) => !isProgram(machine, tree, name));
  if (missing.length > 0) return failure(`the scripts cannot start latchkey: ${missing.join(", ")} not in the image`);
  const recorded = machine.files.readText(`${tree}${LIBRARY_FOLDER}/version`)?.trim();
  return recorded === undefined || recorded === ""
    ? failure(`${LIBRARY_FOLDER}/version is not in the image, and without it the scripts do not start latchkey`)
    : ok(`the scripts start what answers "${recorded}"`);
}

function auditQuestion({ files }: Machine, tree: string): Finding {
  return ["/usr/lib/cryptsetup/askpass", "/lib/cryptsetup/askpass"].some((path) => files.facts(tree + path))
    ? ok("Debian's askpass is there")
    : note("askpass of cryptsetup-initramfs is not in the image: the question comes on the console only");
}

function auditOwnQuestion({ files }: Machine, tree: string): Finding {
  return files.facts(`${tree}${LIBRARY_FOLDER}/bcachefs-question`)
    ? ok("bcachefs-tools asks for root's passphrase if latchkey fails")
    : note("bcachefs-tools is not in the image: if latchkey fails, nothing asks for the passphrase of a bcachefs root");
}
