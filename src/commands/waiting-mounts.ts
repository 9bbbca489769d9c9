import { existsSync } from "node:fs";
import { parseDeviceList } from "../config/device-reference.ts";
import { type FstabEntry, parseFstab } from "../config/fstab.ts";
import type { VolumePlan } from "../config/plan.ts";
import { readTextFile } from "../config/read-text.ts";
import { type BlockDevices, SystemBlockDevices } from "../system/block-devices.ts";
import { asLatchkeyError } from "../system/errors.ts";
import type { VolumeRecord } from "../unlock/report.ts";

/** Milliseconds for systemctl to pass wishes on to systemd. */
const SYSTEMCTL_LIMIT = 10_000;

/** A volume that is open now. */
export interface OpenVolume {
  readonly name: string;
  /** Its UUID, where that is also the one of the filesystem: bcachefs. */
  readonly uuid?: string | undefined;
  /** The nodes that its filesystem lies on: the mapping, or the members. */
  readonly nodes: readonly string[];
}

/** What the run opened, as fstab may name it. */
export function openVolumes(volumes: readonly VolumePlan[], records: readonly VolumeRecord[]): readonly OpenVolume[] {
  return records.flatMap(({ name, kind, uuid, devices, standing }): readonly OpenVolume[] => {
    if (standing !== "opened") return [];
    if (kind !== "luks") return [{ name, uuid: uuid ?? undefined, nodes: devices }];
    const mapping = volumes.find((volume) => volume.name === name)?.luks?.mapping ?? name;
    return [{ name, nodes: [`/dev/mapper/${mapping}`] }];
  });
}

export interface WaitingMount {
  readonly mountPoint: string;
  /** The volume that it is on. */
  readonly volume: string;
}

/**
 * The mounts of fstab that wait for these volumes. systemd tries each mount at boot for as long as its device may take, and never again
 * when the device comes later (systemd.mount(5), x-systemd.device-timeout=); of a bcachefs the device is there all the time, and what the
 * mount wanted was the key. Those with `noauto` wait for a person.
 */
export async function mountsOn(
  opened: readonly OpenVolume[],
  entries: readonly FstabEntry[],
  devices: Pick<BlockDevices, "resolve">,
): Promise<readonly WaitingMount[]> {
  const node = async (path: string): Promise<string> =>
    (await devices.resolve({ by: "path", path }).catch(() => undefined)) ?? path;
  const known = await Promise.all(
    opened.map(async (volume) => ({ ...volume, nodes: await Promise.all(volume.nodes.map(node)) })),
  );
  const mounts: WaitingMount[] = [];
  for (const { device, mountPoint, type, options } of entries) {
    if (!mountPoint.startsWith("/") || type === "swap" || options.includes("noauto")) continue;
    const parsed = parseDeviceList(device);
    if ("problem" in parsed) continue;
    for (const reference of parsed.value) {
      const at = await devices.resolve(reference).catch(() => undefined);
      const volume = known.find(
        ({ nodes, uuid }) =>
          (at !== undefined && nodes.includes(at)) ||
          (reference.by === "tag" && reference.tag === "UUID" && reference.value === uuid),
      );
      if (volume === undefined) continue;
      mounts.push({ mountPoint, volume: volume.name });
      break;
    }
  }
  return mounts;
}

/** Asks systemd for mounts, without waiting for them. @returns why it was not possible, or undefined */
export type StartMounts = (mountPoints: readonly string[]) => Promise<string | undefined>;

/** systemctl(1) takes the path of a mount point for the name of its unit; one that is mounted stays as it is. */
export const startWithSystemd: StartMounts = async (mountPoints) => {
  try {
    const child = Bun.spawn(["systemctl", "start", "--no-block", "--", ...mountPoints], {
      stdio: ["ignore", "ignore", "ignore"],
      timeout: SYSTEMCTL_LIMIT,
      killSignal: "SIGKILL",
    });
    const status = await child.exited;
    return status === 0 ? undefined : `systemctl ended with status ${status}`;
  } catch {
    return "systemctl cannot be started";
  }
};

/** Starts the mounts of fstab that wait for what the run opened. @returns lines that tell of it */
export async function startWaitingMounts(opened: readonly OpenVolume[]): Promise<readonly string[]> {
  if (opened.length === 0 || !existsSync("/run/systemd/system")) return [];
  try {
    const fstab = parseFstab(readTextFile("/etc/fstab") ?? "", "/etc/fstab");
    const mounts = await mountsOn(opened, fstab.entries, new SystemBlockDevices());
    if (mounts.length === 0) return [];
    const problem = await startWithSystemd(mounts.map(({ mountPoint }) => mountPoint));
    return mounts.map(({ volume, mountPoint }) =>
      problem === undefined
        ? `${volume}: ${mountPoint} is being mounted`
        : `${volume}: ${mountPoint} is not mounted: ${problem}`,
    );
  } catch (thrown) {
    return [`nothing is mounted: ${asLatchkeyError(thrown).message}`];
  }
}
