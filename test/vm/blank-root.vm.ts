/** `latchkey blank-root` on a real, encrypted bcachefs with subvolumes, in the initrd of a booting machine. */
import { expect } from "bun:test";
import { join } from "node:path";
import { repository } from "./cache.ts";
import { vmCase } from "./case.ts";
import { journalOnFailure } from "./fault.ts";
import { overlay } from "./files.ts";
import { guest } from "./guest/chroot.ts";
import { bcachefsImage, PASSPHRASE } from "./images.ts";
import { buildInitrd } from "./initrd.ts";
import { Machine } from "./machine.ts";
import { seconds } from "./patience.ts";
import { subvolumePrograms, subvolumes } from "./subvolumes.ts";

const binary = process.env["LATCHKEY_BINARY"] ?? join(repository, "dist/latchkey");
const ARCHIVED = "\\d{4}-\\d\\d-\\d\\dT\\d\\d-\\d\\d-\\d\\dZ(?:\\.\\d+)?";

const ORDER = `After=latchkey.service latchkey-fallback.service
Before=dracut-pre-mount.service sysroot.mount initrd-root-fs.target`;

/** Runs the command as a unit would, and says its status. */
const BLANK_ROOT = 'blank_root() { latchkey blank-root root --root root "$@"; echo "vm: status $?"; }\n';

async function boot(name: string, script: string, rootflags: string, more: readonly string[] = []): Promise<Machine> {
  const dracut = await guest("dracut");
  const image = await bcachefsImage(dracut, { passphrase: PASSPHRASE });
  const machine = await Machine.start({
    name,
    guest: dracut,
    initrd: await buildInitrd(dracut, { stack: "dracut", binary, install: subvolumePrograms }),
    overlays: [overlay({ ...subvolumes(ORDER, BLANK_ROOT + script), ...journalOnFailure })],
    disks: image.members.map((file, index) => ({ file, serial: `root${index}` })),
    commandLine: [`root=UUID=${image.uuid}`, "rootfstype=bcachefs", `rootflags=${rootflags}`, "rw", ...more],
  });
  await machine.expect(/Passphrase for root/);
  await machine.sendLine(PASSPHRASE);
  return machine;
}

vmCase("each run puts a blank root in place, keeps the old ones, and takes them away in time", async (name) => {
  const script = `
blank_root --dry-run
show untouched $TOP/root
blank_root
show "root one" $TOP/root
show "archive one" "$TOP/old-roots/*"
open; touch $TOP/root/life-1; close
blank_root --keep 1 --json
show "archive two" "$TOP/old-roots/*"
# A power cut after the exchange: the temporary name holds the old root.
open; touch $TOP/root/life-2; mv $TOP/root $TOP/root.latchkey-new; bcachefs subvolume snapshot $TOP/blank $TOP/root; close
blank_root
show "archive three" "$TOP/old-roots/*"
show "names" "$TOP"
# An old root with a subvolume inside cannot go, and does not keep the others.
open; bcachefs subvolume create $TOP/root/inner; close
blank_root --keep 0
show "archive four" "$TOP/old-roots"
open; echo "vm: mounted"; blank_root; close
`;
  await using machine = await boot(name, script, "X-mount.subdir=root");
  const { match } = await machine.expect(/([\s\S]*)vm: script done/, { within: seconds(180) });
  const said = match[1] ?? "";
  expect(said).toMatch(
    /snapshot blank to root.latchkey-new\s+exchange root.latchkey-new and root\s+rename root.latchkey-new to old-roots/,
  );
  expect(said).toMatch(/vm: untouched \[[^\]]*life-0/);
  expect(said).toMatch(
    new RegExp(`root is a new snapshot of blank; the old one is old-roots/${ARCHIVED}\\s+vm: status 0`),
  );
  expect(said).toMatch(/vm: root one \[(?![^\]]*life)/);
  expect(said).toMatch(/vm: archive one \[[^\]]*life-0/);
  expect(said).toMatch(new RegExp(`"deleted": \\[\\s+"old-roots/${ARCHIVED}"`));
  expect(said).toMatch(/vm: archive two \[(?![^\]]*life-0)[^\]]*life-1/);
  expect(said).toMatch(/vm: archive three \[[^\]]*life-2/);
  expect(said).toMatch(/vm: names \[(?![^\]]*latchkey-new)[^\]]*blank/);
  expect(said).toMatch(/note: cannot delete old-roots\/.*it holds subvolumes of its own \(ENOTEMPTY\)/);
  expect(said).toMatch(new RegExp(`vm: archive four \\[${ARCHIVED}\\]`));
  expect(said).toMatch(/vm: mounted\s+latchkey: error: rollback\/in-use: [\s\S]*vm: status 4/);
  const root = await machine.realRoot();
  expect(root.mounts[0]).toContain(" / bcachefs ");
});

vmCase("a machine that may be resuming, and one without a blank root, keep the root they have", async (name) => {
  const script = `
# The signature that the kernel writes when it hibernates, on a disk that it will not resume from by itself.
printf 'S1SUSPEND' | dd of=/dev/vm-swap bs=1 seek=4086 conv=notrunc 2>/dev/null
blank_root
rm /dev/vm-swap
blank_root
dd if=/dev/zero of=/dev/vm-swap bs=4096 count=2 2>/dev/null
blank_root --blank no-such-thing
blank_root --blank bin
show "root" $TOP/root
`;
  await using machine = await boot(name, script, "X-mount.subdir=root", ["resume=/dev/vm-swap"]);
  const { match } = await machine.expect(/([\s\S]*)vm: script done/, { within: seconds(180) });
  const said = match[1] ?? "";
  expect(said).toMatch(
    /rollback\/resuming: root: the root is left alone, because .*holds a hibernation image[\s\S]*?status 4/,
  );
  expect(said).toMatch(/rollback\/resuming: .*\/dev\/vm-swap of resume= is not there[\s\S]*?status 4/);
  expect(said).toMatch(/rollback\/no-blank: [\s\S]*?status 1/);
  expect(said).toMatch(
    /rollback\/foreign: bin is a plain folder and not a subvolume: nothing was changed\s+vm: status 4/,
  );
  // The boot itself would go on waiting for the swap that is gone.
  expect(said).toMatch(/vm: root \[[^\]]*life-0/);
});

vmCase("a root folder that is not there is not taken for a mounted root", async (name) => {
  await using machine = await boot(name, "", "X-mount.subdir=no-such-root", ["rd.shell=0"]);
  // mount(8) ends with status 0 and has mounted nothing (bcachefs issue 948); systemd looks into the mount table.
  await machine.expect(
    /Failed to mount sysroot\.mount|sysroot\.mount: .*(?:protocol|no mount)|it has no folder no-such-root/,
    {
      within: seconds(180),
    },
  );
});
