/**
 * The units of the NixOS module, as it makes them, booted in a plain systemd initrd: Debian's, with dracut's own units masked and
 * the store's paths mapped. No NixOS runs here; what is seen is that systemd takes the units, their order, and what they do.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { whyNoNix } from "../nix/evaluate.ts";
import { initrdOfModule } from "../nix/initrd-of.ts";
import { repository } from "./cache.ts";
import { vmCase } from "./case.ts";
import { kill } from "./fault.ts";
import { type Files, overlay } from "./files.ts";
import { guest } from "./guest/chroot.ts";
import { bcachefsImage, PASSPHRASE } from "./images.ts";
import { buildInitrd } from "./initrd.ts";
import { Machine } from "./machine.ts";
import { seconds } from "./patience.ts";
import { subvolumePrograms, subvolumes } from "./subvolumes.ts";

const binary = process.env["LATCHKEY_BINARY"] ?? join(repository, "dist/latchkey");
const QUESTION = /Passphrase for root/;

interface Machinery {
  readonly files?: Files;
  readonly isEncrypted?: boolean;
}

async function start(name: string, { files = {}, isEncrypted = true }: Machinery = {}): Promise<Machine> {
  const dracut = await guest("dracut");
  const image = await bcachefsImage(dracut, { passphrase: isEncrypted ? PASSPHRASE : undefined });
  const order = "After=latchkey-unlocked.target\nBefore=latchkey-blank-root.service sysroot.mount";
  const module = initrdOfModule({ program: "/usr/bin/latchkey" });
  return Machine.start({
    name,
    guest: dracut,
    initrd: await buildInitrd(dracut, { stack: "dracut", binary, install: subvolumePrograms }),
    overlays: [overlay({ ...module, ...(isEncrypted ? subvolumes(order) : {}), ...files })],
    disks: image.members.map((file, index) => ({ file, serial: `root${index}` })),
    commandLine: ["root=fstab"],
    atRoot: "shell",
  });
}

async function expectBlankRoot(machine: Machine): Promise<void> {
  await machine.expect(/root is a new snapshot of blank; the old one is old-roots\/\S+Z/, { within: seconds(180) });
  const { mounts } = await machine.realRoot();
  expect(mounts.find((line) => line.includes(" / "))).toContain(" / bcachefs ");
  expect(mounts.find((line) => line.includes(" /nix "))).toContain(" /nix bcachefs ");
  expect(await machine.shell("ls / /nix")).toMatch(/(?!.*life-0)[\s\S]*\/nix:\s+store/);
}

const reason = whyNoNix();
if (reason !== undefined) {
  test.skip(`the units of the NixOS module: ${reason}`, () => undefined);
} else {
  vmCase("one question opens root and /nix, the root is blank, and both are mounted", async (name) => {
    await using machine = await start(name);
    await machine.expect(QUESTION);
    await machine.sendLine(PASSPHRASE);
    await expectBlankRoot(machine);
    expect(machine.console.text.match(/Passphrase for/g)).toHaveLength(1);
  });

  vmCase("when latchkey is killed, the second question opens both", async (name) => {
    await using machine = await start(name, { files: kill({ process: "latchkey", after: 1500 }) });
    await machine.expect(/Passphrase for \/dev\/disk\/by-uuid/);
    await machine.sendLine("not the passphrase");
    await machine.expect(/That was not the passphrase/);
    await machine.sendLine(PASSPHRASE);
    await expectBlankRoot(machine);
  });

  vmCase("a named root that turns up unencrypted is not mounted, and the reason is shown", async (name) => {
    // dracut's shell would say the reason as well: without it, it is our unit that does.
    const emergency = "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=systemctl --force poweroff\n";
    const files = { "/etc/systemd/system/emergency.service": emergency };
    await using machine = await start(name, { files, isEncrypted: false });
    await machine.expect(/the root filesystem was refused: root: .*not encrypted/, { within: seconds(180) });
    expect(machine.console.text).not.toContain("new snapshot of blank");
  });
}
