import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { basename, dirname } from "node:path";
import { type BlockDevices, type DeviceRoots, SystemBlockDevices } from "../../system/block-devices.ts";

/** A disk or partition that could be the stick of somebody: found in sysfs, not touched yet. */
export interface Stick {
  readonly path: string;
  /** Differs when a stick is pulled and put in again, or another one comes to have its name. */
  readonly occurrence: string;
  /** Its medium can be taken out, or it hangs on a USB bus. */
  readonly isRemovable: boolean;
  /** For a partition: its disk, and its number there. */
  readonly partitionOf?: { readonly disk: string; readonly number: number };
}

export interface Sticks {
  /** What could be a stick now. Nothing is opened. */
  list(): Promise<readonly Stick[]>;
  /** Yields when that may have changed; ends when the signal is aborted. */
  changes(signal: AbortSignal): AsyncIterable<void>;
  /** The disk or partition that udev says holds a filesystem with this UUID. */
  deviceWith(uuid: string): Promise<Stick | undefined>;
}

/** A controller's root hub in the path of a device, Documentation/ABI/testing/sysfs-bus-usb. */
const ON_USB_BUS = /\/usb\d+\//;

/** The machine's own. */
export class SystemSticks implements Sticks {
  readonly #devices: BlockDevices;
  readonly #roots: DeviceRoots;

  constructor(
    roots: DeviceRoots = { dev: "/dev", sys: "/sys" },
    devices: BlockDevices = new SystemBlockDevices(roots),
  ) {
    this.#devices = devices;
    this.#roots = roots;
  }

  async list(): Promise<readonly Stick[]> {
    const found = await this.#devices.list();
    return found.flatMap(({ path, isHeld }) => {
      const stick = isHeld ? undefined : this.look(path);
      return stick ? [stick] : [];
    });
  }

  changes(signal: AbortSignal): AsyncIterable<void> {
    return this.#devices.changes(signal);
  }

  async deviceWith(uuid: string): Promise<Stick | undefined> {
    const path = await this.#devices.resolve({ by: "tag", tag: "UUID", value: uuid });
    return path === undefined ? undefined : this.look(path);
  }

  /** One device by its path; undefined while it has no node, or sysfs does not know it. */
  look(path: string): Stick | undefined {
    try {
      const node = statSync(path);
      const folder = realpathSync(
        `${this.#roots.sys}/class/block/${path.slice(this.#roots.dev.length + 1).replaceAll("/", "!")}`,
      );
      const number = Number(textOf(`${folder}/partition`));
      const disk = number > 0 ? dirname(folder) : folder;
      return {
        path,
        // devtmpfs gives each node that it makes a number of its own.
        occurrence: `${path} ${node.ino}`,
        isRemovable: textOf(`${disk}/removable`) === "1" || ON_USB_BUS.test(`${folder}/`),
        ...(number > 0
          ? { partitionOf: { disk: `${this.#roots.dev}/${basename(disk).replaceAll("!", "/")}`, number } }
          : {}),
      };
    } catch {
      return undefined; // on its way in or out: the next change tells
    }
  }
}

function textOf(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8").trim() : "";
}
