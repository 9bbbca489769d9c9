/** Machines whose initrd is one of initramfs-tools, with latchkey in it. */
import { join } from "node:path";
import type { Report } from "../../src/unlock/report.ts";
import { repository } from "./cache.ts";
import { type Files, overlay } from "./files.ts";
import { guest } from "./guest/chroot.ts";
import type { GuestName } from "./guest/packages.ts";
import type { BcachefsImage } from "./images.ts";
import { type LuksImage, luksImage, type TokenMaker } from "./images-luks.ts";
import { buildInitrd, type InitrdOptions } from "./initrd.ts";
import { Machine, type MachineOptions } from "./machine.ts";
import { withoutClevis } from "./remote-image.ts";

type Differences = Partial<Omit<MachineOptions, "name" | "guest" | "initrd" | "overlays">>;

export const binary = process.env["LATCHKEY_BINARY"] ?? join(repository, "dist/latchkey");
/** An emulated machine may take longer than the usual two seconds, after which the question appears. */
export const patient: Files = { "/etc/latchkey/latchkey.toml": 'prompt_after = "2m"\n' };

interface Start extends Differences {
  readonly guest?: GuestName;
  readonly files?: Files;
  readonly initrd?: Partial<InitrdOptions>;
}

export async function start(name: string, image: BcachefsImage, differences: Start = {}): Promise<Machine> {
  const { files = {}, initrd = {}, guest: guestName = "initramfs-tools", ...others } = differences;
  const debian = await guest(guestName);
  return Machine.start({
    name,
    guest: debian,
    initrd: await buildInitrd(debian, { stack: "initramfs-tools", binary, absent: withoutClevis, ...initrd }),
    overlays: [overlay(files)],
    disks: image.members.map((file, index) => ({ file, serial: `root${index}` })),
    commandLine: [`root=UUID=${image.uuid}`],
    ...others,
  });
}

export const luksRoot = async (token?: TokenMaker): Promise<LuksImage> =>
  luksImage(await guest("initramfs-tools"), token === undefined ? {} : { token });

/** With crypttab's line for the root, which the image's hooks find by its option initramfs. */
export function startLuks(
  name: string,
  luks: LuksImage,
  { options = "luks,initramfs", initrd = {}, ...differences }: Start & { readonly options?: string } = {},
): Promise<Machine> {
  const lines = luks.members.map(({ uuid }) => `cryptroot UUID=${uuid} none ${options}\n`).join("");
  const image = { ...luks, label: undefined, passphrase: undefined, members: luks.members.map(({ file }) => file) };
  return start(name, image, { initrd: { system: { "/etc/crypttab": lines }, ...initrd }, ...differences });
}

export const CRYPTROOT = "/dev/mapper/cryptroot / ext4";
export const openedBy = (report: unknown): string | null | undefined =>
  (report as Report).volumes.find(({ name }) => name === "cryptroot")?.opened_by;
/** cryptroot's own. */
export const LUKS_STOCK_QUESTION = "Please unlock disk cryptroot:";
