import type { Stats } from "node:fs";
import { constants } from "node:fs";
import { type FileHandle, open, readdir, readFile, realpath, stat } from "node:fs/promises";
import { type DeviceReference, type DeviceTag, encodeDeviceName, linkFolders } from "./device-names.ts";
import { watchDevices } from "./device-watch.ts";
import { LatchkeyError } from "./errors.ts";

/** Reads one device or image file. */
export interface BlockReader {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /**
   * @returns the bytes there are: fewer than `length` at the end of the device
   * @throws LatchkeyError device/unreadable
   */
  readAt(offset: number, length: number): Promise<Uint8Array>;
}

export interface OpenBlockReader extends BlockReader, AsyncDisposable {}

/** A block device the kernel knows. */
export interface BlockDevice {
  readonly path: string;
  /** Another device is built on it (device mapper, RAID, bcache), which is the one to use. */
  readonly isHeld: boolean;
}

export interface BlockDevices {
  /**
   * The node a reference leads to now, with symbolic links resolved; undefined while there is none.
   * @throws LatchkeyError device/permission-denied
   */
  resolve(reference: DeviceReference): Promise<string | undefined>;
  /** Every block device that could hold a file system. Nothing is opened. */
  list(): Promise<readonly BlockDevice[]>;
  /**
   * Opens a block device or an image file for reading. The node of an array, a mapping or a loop device is there before it has
   * anything in it: until then it is missing.
   * @throws LatchkeyError device/missing, device/is-directory, device/not-a-disk, device/permission-denied, device/unreadable
   */
  open(path: string): Promise<OpenBlockReader>;
  /** Yields after devices came or went, and once a second in any case; ends when the signal is aborted. */
  changes(signal: AbortSignal): AsyncIterable<void>;
}

/** Where things are; tests point them at folders with image files. */
export interface DeviceRoots {
  readonly dev: string;
  readonly sys: string;
}

/** `UUID=…` or the path, as its owner wrote it. */
export function referenceText(reference: DeviceReference): string {
  return reference.by === "path" ? reference.path : `${reference.tag}=${reference.value}`;
}

const SECTOR_BYTES = 512;
/** Smaller devices hold no file system. */
const MINIMUM_BYTES = 64 * 1024;
/** RAM disks and compressed swap hold no disk of anybody's; a floppy drive takes seconds to say it is empty. */
const NOT_SEARCHED = /^(ram|zram|fd)\d/;

/** UUIDs are compared without regard to case by everything but file names: udev keeps that of the file system. */
function spellings({ tag, value }: { readonly tag: DeviceTag; readonly value: string }): readonly string[] {
  const encoded = encodeDeviceName(value);
  if (encoded === "" || encoded === "." || encoded === "..") return [];
  if (tag !== "UUID" && tag !== "PARTUUID") return [encoded];
  return [...new Set([encoded, encoded.toLowerCase(), encoded.toUpperCase()])];
}

/** The machine's own block devices. */
export class SystemBlockDevices implements BlockDevices {
  readonly #roots: DeviceRoots;

  constructor(roots: DeviceRoots = { dev: "/dev", sys: "/sys" }) {
    this.#roots = roots;
  }

  async resolve(reference: DeviceReference): Promise<string | undefined> {
    const candidates =
      reference.by === "path"
        ? [reference.path]
        : spellings(reference).map((name) => `${this.#roots.dev}/disk/${linkFolders[reference.tag]}/${name}`);
    for (const candidate of candidates) {
      try {
        return await realpath(candidate);
      } catch (thrown) {
        if (!isAbsence(thrown)) throw deviceError(candidate, thrown);
      }
    }
    return undefined;
  }

  async list(): Promise<readonly BlockDevice[]> {
    const folder = `${this.#roots.sys}/class/block`;
    const names = await readdir(folder).catch(() => []);
    const devices: BlockDevice[] = [];
    for (const name of names.sort()) {
      if (NOT_SEARCHED.test(name)) continue;
      const size = await numberIn(`${folder}/${name}/size`);
      // Paths below a multipath NVMe device are listed but have no node.
      if (size * SECTOR_BYTES < MINIMUM_BYTES || (await numberIn(`${folder}/${name}/hidden`)) === 1) continue;
      const holders = await readdir(`${folder}/${name}/holders`).catch(() => []);
      // The kernel writes "!" where the name of the node has "/" (cciss!c0d0).
      devices.push({ path: `${this.#roots.dev}/${name.replaceAll("!", "/")}`, isHeld: holders.length > 0 });
    }
    return devices;
  }

  async open(path: string): Promise<OpenBlockReader> {
    let handle: FileHandle | undefined;
    try {
      // Looked at before it is opened: opening a tape or a watchdog does something. O_NONBLOCK, in case it became a pipe.
      checkKind(path, await stat(path));
      handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const found = await handle.stat();
      checkKind(path, found);
      const size = found.isBlockDevice() ? await this.#deviceSize(found.rdev) : found.size;
      // `mdadm --incremental` makes the node with the first member (mdadm(8)), and nbd and loop have theirs all the time.
      if (found.isBlockDevice() && size === 0) throw withoutSize(path);
      return new FileReader(path, size, handle);
    } catch (thrown) {
      await handle?.close();
      throw deviceError(path, thrown);
    }
  }

  changes(signal: AbortSignal): AsyncIterable<void> {
    return watchDevices(this.#roots.dev, signal);
  }

  /** By number, since a node may have any name. */
  async #deviceSize(device: number): Promise<number> {
    // gnu_dev_major and gnu_dev_minor, sys/sysmacros.h
    const number = BigInt(device);
    const major = ((number >> 8n) & 0xfffn) | ((number >> 32n) & 0xfffff000n);
    const minor = (number & 0xffn) | ((number >> 12n) & 0xffffff00n);
    return SECTOR_BYTES * (await numberIn(`${this.#roots.sys}/dev/block/${major}:${minor}/size`));
  }
}

class FileReader implements OpenBlockReader {
  readonly path: string;
  readonly size: number;
  readonly #handle: FileHandle;

  constructor(path: string, size: number, handle: FileHandle) {
    this.path = path;
    this.size = size;
    this.#handle = handle;
  }

  async readAt(offset: number, length: number): Promise<Uint8Array> {
    // Never room for more than there is.
    const room = new Uint8Array(Math.max(0, Math.min(length, this.size - offset)));
    let filled = 0;
    try {
      while (filled < room.length) {
        const { bytesRead } = await this.#handle.read(room, filled, room.length - filled, offset + filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
    } catch (thrown) {
      throw deviceError(this.path, thrown);
    }
    return room.subarray(0, filled);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

/** @returns the number a sysfs file holds, 0 when it cannot be read */
async function numberIn(path: string): Promise<number> {
  const text = await readFile(path, "utf8").catch(() => "");
  return Number(text.trim()) || 0;
}

function checkKind(path: string, found: Stats): void {
  if (found.isDirectory()) throw new LatchkeyError("device/is-directory", `${path} is a directory, not a block device`);
  if (!found.isBlockDevice() && !found.isFile()) {
    const kind = found.isCharacterDevice() ? "a character device" : found.isFIFO() ? "a pipe" : "a socket";
    throw new LatchkeyError("device/not-a-disk", `${path} is ${kind}, not a block device or an image file`);
  }
}

/** Read now, it would look as if it held nothing. */
function withoutSize(path: string): LatchkeyError {
  return new LatchkeyError("device/missing", `${path} has no size yet: nothing is behind it`, {
    hint: "is the array, mapping or network disk that it belongs to complete? /proc/mdstat shows arrays",
  });
}

function errnoCode(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
}

function isAbsence(thrown: unknown): boolean {
  return ["ENOENT", "ENOTDIR", "ENXIO", "ENODEV"].includes(errnoCode(thrown));
}

/** What went wrong with a device, in words. */
function deviceError(path: string, thrown: unknown): LatchkeyError {
  if (thrown instanceof LatchkeyError) return thrown;
  const code = errnoCode(thrown);
  const details = { cause: thrown };
  if (isAbsence(thrown)) return new LatchkeyError("device/missing", `${path} does not exist`, details);
  if (code === "EACCES" || code === "EPERM") {
    const hint = "reading a disk takes root or membership in its group (often disk)";
    return new LatchkeyError("device/permission-denied", `${path} may not be read by this user`, { ...details, hint });
  }
  if (code === "ENOMEDIUM") return new LatchkeyError("device/unreadable", `${path} has no medium in it`, details);
  return new LatchkeyError("device/unreadable", `${path} cannot be read: ${code || "unknown error"}`, {
    ...details,
    hint: "the kernel's log (dmesg) has the details",
  });
}
