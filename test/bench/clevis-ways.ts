import { readFileSync } from "node:fs";
import { join } from "node:path";
import { dropIn, earlyScript, hook, journalOnFailure } from "../vm/fault.ts";
import type { Files } from "../vm/files.ts";
import { type Guest, guest } from "../vm/guest/chroot.ts";
import { type LuksImage, luksImage } from "../vm/images-luks.ts";
import { buildInitrd, type InitrdOptions } from "../vm/initrd.ts";
import { withoutClevis } from "../vm/remote-image.ts";
import { type ClevisWay, say, sayScript } from "./clevis-boot.ts";

/** One stack of Debian's with latchkey, with clevis and with neither of them, all else being the same. */
export interface ClevisStack {
  readonly guest: Guest;
  readonly ways: readonly [latchkey: ClevisWay, clevis: ClevisWay];
  readonly images: readonly { readonly what: string; readonly file: string }[];
}

/** An emulated machine may take longer than the usual two seconds, after which a question appears. */
export const patient: Files = { "/etc/latchkey/latchkey.toml": 'prompt_after = "2m"\n' };

const disksOf = ({ members }: LuksImage) => members.map(({ file }, index) => ({ file, serial: `root${index}` }));

/** The same for latchkey and clevis. */
export const dracutMarks: Files = {
  ...sayScript,
  ...hook("pre-udev", "vm-early", `${say("early")}\n`),
  ...dropIn("systemd-cryptsetup@.service", "vm-mapping", `[Service]\nExecStartPost=${say("mapping")}\n`),
  ...journalOnFailure,
};

const CLEVIS_UNIT = "clevis-luks-askpass.service";

/** clevis says on its standard error when it has opened a token and answered systemd's question. */
function clevisMark({ root }: Guest): Files {
  const text = readFileSync(join(root, "usr/lib/systemd/system", CLEVIS_UNIT), "utf8");
  const command = /^ExecStart=(.+)$/m.exec(text)?.[1];
  if (command === undefined) throw new Error(`${CLEVIS_UNIT} starts nothing`);
  const script = `${command} 2>&1 | while read -r vm_line; do
  case $vm_line in Unlocked*) ${say("token")} ;; esac
done
`;
  return {
    "/etc/vm-clevis": script,
    ...dropIn(CLEVIS_UNIT, "vm-token", "[Service]\nExecStart=\nExecStart=/bin/sh /etc/vm-clevis\n"),
  };
}

const clevisModules = ["clevis", ...["null", "sss", "tang", "tpm2"].map((pin) => `clevis-pin-${pin}`)];

/** dracut, systemd-cryptsetup, and Debian's clevis-dracut without its Tang pin, which brings every network driver. */
export async function dracutStack(binary: string): Promise<ClevisStack> {
  const debian = await guest("dracut-clevis");
  const luks = await luksImage(debian, { token: { by: "clevis" } });
  const build = (options: Partial<InitrdOptions>) =>
    buildInitrd(debian, { stack: "dracut", binary: null, add: ["crypt"], compression: "usual", ...options });
  const latchkey = await build({ binary, omit: clevisModules });
  const clevis = await build({ add: ["crypt", "clevis", "clevis-pin-tpm2"], omit: ["clevis-pin-tang"] });
  const neither = await build({ omit: clevisModules });
  const common = {
    guest: debian,
    disks: disksOf(luks),
    commandLine: [`root=UUID=${luks.uuid}`, ...luks.members.map(({ uuid }) => `rd.luks.uuid=${uuid}`)],
  };
  return {
    guest: debian,
    ways: [
      { name: "dracut-latchkey", ...common, initrd: latchkey, files: { ...dracutMarks, ...patient } },
      { name: "dracut-clevis", ...common, initrd: clevis, files: { ...dracutMarks, ...clevisMark(debian) } },
    ],
    images: [
      { what: "with neither", file: neither },
      { what: "with latchkey", file: latchkey },
      { what: "with clevis for a TPM", file: clevis },
    ],
  };
}

/** A script of the image, for where no overlay can add one. */
const mappingMark: Files = {
  "/etc/initramfs-tools/scripts/local-premount/vm-mapping": {
    content: `#!/bin/sh\n[ "$1" = prereqs ] && exit 0\n${say("mapping")}\n`,
    mode: 0o755,
  },
};

/** initramfs-tools, Debian's cryptroot, and clevis-initramfs as it comes: it has no part that could be left away. */
export async function initramfsStack(binary: string): Promise<ClevisStack> {
  const debian = await guest("initramfs-tools");
  const luks = await luksImage(debian, { token: { by: "clevis" } });
  const system: Files = {
    ...mappingMark,
    "/etc/crypttab": luks.members.map(({ uuid }) => `cryptroot UUID=${uuid} none luks,initramfs\n`).join(""),
  };
  const build = (options: Partial<InitrdOptions>) =>
    buildInitrd(debian, { stack: "initramfs-tools", binary: null, system, compression: "usual", ...options });
  const latchkey = await build({ binary, absent: withoutClevis });
  const clevis = await build({});
  const neither = await build({ absent: withoutClevis });
  const common = { guest: debian, disks: disksOf(luks), commandLine: [`root=UUID=${luks.uuid}`] };
  const marks = { ...sayScript, ...earlyScript("vm-early", `${say("early")}\n`) };
  return {
    guest: debian,
    ways: [
      { name: "initramfs-latchkey", ...common, initrd: latchkey, files: { ...marks, ...patient } },
      { name: "initramfs-clevis", ...common, initrd: clevis, files: marks },
    ],
    images: [
      { what: "with neither", file: neither },
      { what: "with latchkey", file: latchkey },
      { what: "with clevis", file: clevis },
    ],
  };
}
