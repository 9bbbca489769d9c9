import { type Finding, failure, isProgram, note, ok } from "../image-audit.ts";
import type { Machine } from "../machine.ts";
import type { Stack, Unpacked } from "../stack.ts";
import { DRACUT_MODULE_FOLDER, dracutFiles, dracutUnits } from "./files.ts";
import { imageCandidates } from "./image-paths.ts";

export const dracut: Stack = {
  name: "dracut",
  files: dracutFiles,
  folders: [DRACUT_MODULE_FOLDER],
  bcachefsWarning: "dracut alone asks for no passphrase of a bcachefs root, which is what / is",
  advice: {
    rebuild: "run dracut before the next boot",
    install: "install the package dracut",
    compress: 'have images compressed more (compress="zstd -19" in /etc/dracut.conf.d)',
    tryOut: "`dracut --force /tmp/try.img` shows all of what dracut says",
  },
  crypttabsInImage: ["/etc/crypttab"],
  complaints: /^dracut(?:\[[WEF]\])?: /,
  imageCandidates,
  isInstalled: async ({ run }) => (await run(["dracut", "--version"])).status === 0,
  buildCommand: (kernel, image) => ({
    command: ["dracut", "--quiet", "--force", image, kernel],
    // Boot loaders hear of the image when it is in its place, see tellBootLoaders().
    environment: { NO_POST_UPDATE_HOOKS: "1" },
  }),
  unpack,
  holdsLatchkey: async ({ files, run }, image) =>
    (await run(["lsinitrd", "--mod", files.outside(image)])).stdout.split("\n").includes("latchkey"),
  bringsNetwork: ({ files }, tree) => {
    const folder = `${tree}/etc/cmdline.d`;
    const texts = ["/proc/cmdline", ...files.list(folder).map((name) => `${folder}/${name}`)].map(
      files.readText,
      files,
    );
    return texts.some((text) => /(?:^|\s)rd\.neednet(?:=1)?(?:\s|$)/.test(text ?? ""));
  },
  auditBoot: (machine, tree) => [
    auditUnits(machine, tree),
    auditQuestion(machine, tree),
    auditTools(machine, tree),
    ...auditLuks(machine, tree),
  ],
};

async function unpack(machine: Machine, image: string, folder: string): Promise<Unpacked> {
  const { files } = machine;
  const outcome = await machine.run(["lsinitrd", "--unpack", files.outside(image)], { folder: files.outside(folder) });
  // With dracut's squash module most of the image is an image inside the image.
  const inner = ["squashfs-root", "erofs-root"].map((name) => `${folder}/${name}`).find((path) => files.facts(path));
  // Not by its status: cpio complains of device nodes that it may not make in a container. What is missing, the audit finds.
  return files.list(folder).length > 0 ? { tree: inner ?? folder } : { failure: outcome.stderr.trim() };
}

function auditUnits({ files }: Machine, tree: string): Finding {
  for (const unit of dracutUnits) {
    const wanted = ["/etc", "/usr/lib"].some((base) =>
      files.facts(`${tree}${base}/systemd/system/initrd.target.wants/${unit}`),
    );
    if (!wanted) return failure(`${unit} is not enabled in the image`);
  }
  return ok("its units are enabled");
}

function auditQuestion(machine: Machine, tree: string): Finding {
  const missing = ["systemd-ask-password", "systemd-tty-ask-password-agent", "systemctl", "udevadm"].filter(
    (name) => !isProgram(machine, tree, name),
  );
  if (missing.length > 0) return failure(`no question can be asked: ${missing.join(", ")} not in the image`);
  return ok("systemd's question is there");
}

function auditTools(machine: Machine, tree: string): Finding {
  if (isProgram(machine, tree, "bcachefs")) return ok("bcachefs-tools can ask for root's passphrase if latchkey fails");
  return note(
    "bcachefs-tools is not in the image: if latchkey fails, nothing asks for the passphrase of a bcachefs root",
  );
}

/** Nothing to say of an image that opens no LUKS volume. */
function auditLuks(machine: Machine, tree: string): readonly Finding[] {
  const { files } = machine;
  const folder = `${tree}/etc/cmdline.d`;
  const isNamed =
    files.facts(`${tree}/etc/crypttab`) !== undefined ||
    files.list(folder).some((name) => /\brd\.luks\.uuid=/.test(files.readText(`${folder}/${name}`) ?? ""));
  const missing = ["cryptsetup", "systemd-cryptsetup"].filter((name) => !hasCryptsetup(machine, tree, name));
  if (missing.length === 0) return [ok("LUKS volumes can be opened")];
  if (!isNamed) return [];
  return [failure(`the image is to open a LUKS volume, and has no ${missing.join(" and no ")}`)];
}

function hasCryptsetup(machine: Machine, tree: string, name: string): boolean {
  // Until systemd 256 it was no command.
  const internal = machine.files.facts(`${tree}/usr/lib/systemd/${name}`) !== undefined;
  return internal || isProgram(machine, tree, name);
}
