import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Report } from "../../src/unlock/report.ts";
import { dropIn, journalOnFailure } from "../vm/fault.ts";
import { type Files, overlay } from "../vm/files.ts";
import { type Guest, guest } from "../vm/guest/chroot.ts";
import { PASSPHRASE } from "../vm/images.ts";
import { type LuksImage, luksImage } from "../vm/images-luks.ts";
import { buildInitrd } from "../vm/initrd.ts";
import { Machine, type MachineOptions } from "../vm/machine.ts";
import { seconds } from "../vm/patience.ts";
import { tpmState, tpmToken } from "../vm/tokens.ts";
import { type Comparison, comparisonTable, spread } from "./figures.ts";
import type { Subject } from "./subject.ts";

const PAIRS = 3;
const LIMIT = seconds(300);

/** Seconds of the guest's clock, from the start of its kernel. */
interface Moments {
  /** The driver has found the TPM, and its node is there. */
  readonly node: number;
  /** The unit starts that opens the token. */
  readonly start: number;
  /** The token is open: the passphrase was found right, or was handed to systemd-cryptsetup. */
  readonly key: number;
  /** systemd-cryptsetup has made the mapping. Nothing of the kind with bcachefs. */
  readonly mapping: number;
}

const says = { start: "vm: the unlocking starts", key: "vm: the token is open", mapping: "vm: the mapping is there" };

/** With builtins only, so that it costs next to nothing. */
const SAY = 'read -r vm_up vm_idle </proc/uptime\necho "$1 $vm_up" >/dev/ttyS0\n';
const say = (what: keyof typeof says): string => `/bin/sh /etc/vm-say '${says[what]}'`;

const marks = (unlocking: string): Files => ({
  "/etc/vm-say": SAY,
  ...dropIn(unlocking, "vm-start", `[Service]\nExecStartPre=${say("start")}\n`),
  ...dropIn("systemd-cryptsetup@.service", "vm-mapping", `[Service]\nExecStartPost=${say("mapping")}\n`),
  ...journalOnFailure,
});

const CLEVIS_UNIT = "clevis-luks-askpass.service";

/** clevis says so on its standard error when it has opened a token and answers systemd's question. */
function clevisMarks(stock: Guest): Files {
  const text = readFileSync(join(stock.root, "usr/lib/systemd/system", CLEVIS_UNIT), "utf8");
  const command = /^ExecStart=(.+)$/m.exec(text)?.[1];
  if (command === undefined) throw new Error(`${CLEVIS_UNIT} starts nothing`);
  const script = `${command} 2>&1 | while read -r vm_line; do
  case $vm_line in Unlocked*) . /etc/vm-say ;; esac
done
`;
  return {
    ...marks(CLEVIS_UNIT),
    "/etc/vm-clevis": `set -- '${says.key}'\n${script}`,
    ...dropIn(CLEVIS_UNIT, "vm-key", "[Service]\nExecStart=\nExecStart=/bin/sh /etc/vm-clevis\n"),
  };
}

const seen = (text: string, what: keyof typeof says): number =>
  Number(new RegExp(`${says[what]} ([\\d.]+)`).exec(text)?.[1]);

/** Boots once with nobody there. */
async function boot(name: string, options: Omit<MachineOptions, "name" | "atRoot">): Promise<Moments> {
  using tpm = tpmState();
  await using machine = await Machine.start({ ...options, name, tpm: { state: tpm.directory }, atRoot: "shell" });
  const { report } = await machine.realRoot();
  const log = await machine.shell("dmesg | grep ' TPM (device-id'", LIMIT);
  const { text } = machine.console;
  const opened = (report as Report | undefined)?.attempts.find(({ verdict }) => verdict === "opened");
  const moments = {
    node: Number(/\[ *([\d.]+)\]/.exec(log)?.[1]),
    start: seen(text, "start"),
    key: opened ? opened.ended_ms / 1000 : seen(text, "key"),
    mapping: seen(text, "mapping"),
  };
  if (!(moments.key > moments.start)) throw new Error(`${name}: no token was opened: ${JSON.stringify(moments)}`);
  return moments;
}

const onLuks = (luks: LuksImage) => ({
  disks: luks.members.map(({ file }, index) => ({ file, serial: `root${index}` })),
  commandLine: [`root=UUID=${luks.uuid}`, ...luks.members.map(({ uuid }) => `rd.luks.uuid=${uuid}`)],
});

// An emulated machine may take longer than the usual two seconds, after which a question appears.
const configuration: Files = { "/etc/latchkey/latchkey.toml": 'prompt_after = "2m"\n' };

/** The same root on LUKS with the same token in its header: opened by latchkey, and by the units that clevis brings. */
export async function clevisBoots({ guest: plain, binary, image }: Subject): Promise<string> {
  const stock = await guest("dracut-clevis");
  const luks = await luksImage(plain, { token: { by: "clevis" } });
  const latchkey = await buildInitrd(plain, { stack: "dracut", binary, compression: "usual" });
  const clevis = await buildInitrd(stock, {
    stack: "dracut",
    binary: null,
    add: ["crypt", "clevis", "clevis-pin-tpm2"],
    omit: ["clevis-pin-tang"],
    compression: "usual",
  });
  const ourMarks = marks("latchkey.service");
  const bcachefsToken = { "/etc/latchkey/root.jwe": await tpmToken(PASSPHRASE, [14]) };
  const pairs: [Moments, Moments][] = [];
  const keyrings: Moments[] = [];
  for (let number = 1; number <= PAIRS; number += 1) {
    const ours = await boot(`bench-clevis-latchkey-${number}`, {
      guest: plain,
      initrd: latchkey,
      overlays: [overlay({ ...ourMarks, ...configuration })],
      ...onLuks(luks),
    });
    const theirs = await boot(`bench-clevis-stock-${number}`, {
      guest: stock,
      initrd: clevis,
      overlays: [overlay(clevisMarks(stock))],
      ...onLuks(luks),
    });
    pairs.push([ours, theirs]);
    keyrings.push(
      await boot(`bench-clevis-bcachefs-${number}`, {
        guest: plain,
        initrd: latchkey,
        overlays: [overlay({ ...ourMarks, ...configuration, ...bcachefsToken })],
        disks: image.members.map((file, index) => ({ file, serial: `root${index}` })),
        commandLine: [`root=UUID=${image.uuid}`, "rootfstype=bcachefs"],
      }),
    );
  }
  const row = (what: string, from: keyof Moments, to: keyof Moments): Comparison => ({
    what,
    ours: pairs.map(([ours]) => ours[to] - ours[from]),
    theirs: pairs.map(([, theirs]) => theirs[to] - theirs[from]),
    digits: 2,
  });
  return `## Boots with a TPM token

Seconds by the guest's clock, from boots with nobody there, one at a time, two emulated processors and no hardware help, ${PAIRS} pairs. The same
root on LUKS with the same token for the TPM in its header; "clevis" is what Debian's clevis-dracut does. "Token open": the passphrase was
found right (latchkey), or was handed to systemd-cryptsetup (clevis).

${comparisonTable(
  ["latchkey", "clevis"],
  [
    row("unlocking starts → token open", "start", "key"),
    row("unlocking starts → mapping there", "start", "mapping"),
    row("TPM node → token open", "node", "key"),
    row("TPM node → mapping there", "node", "mapping"),
  ],
)}

A bcachefs root with such a token, latchkey alone, ${PAIRS} boots: from the TPM node to the key in the keyring
${spread(
  keyrings.map(({ node, key }) => key - node),
  2,
)} s, of which after the start of the unlocking ${spread(
    keyrings.map(({ start, key }) => key - start),
    2,
  )} s. That has scrypt in it, as for every bcachefs.
`;
}
