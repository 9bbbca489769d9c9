import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { LatchkeyError } from "../../system/errors.ts";
import { errnoName, lastErrno, libc } from "../../system/libc.ts";
import { type FilesystemType, ReadOnlyMount } from "../../system/mounts.ts";
import { MAX_SECRET_BYTES } from "../../system/secret-bytes.ts";
import { ALIGNMENT, type KeyRoom } from "./key-room.ts";

const EINVAL = 22;
const O_CLOEXEC = 0o2000000;
const POSIX_FADV_DONTNEED = 4;

/**
 * Reads a key file, once and whole, to the start of the room: mounts its filesystem where nobody else sees it, opens the file without
 * following a link, looks at what it is before reading, and unmounts. Blocks for as long as the device does.
 * @returns the number of bytes
 * @throws LatchkeyError key-file/…
 */
export function readKeyFile(device: string, type: FilesystemType, path: string, room: KeyRoom): number {
  using mount = ReadOnlyMount.open(device, type);
  using file = openKeyFile(mount, device, path);
  const found = fstatSync(file.descriptor);
  if (!found.isFile()) {
    const kind = found.isDirectory() ? "a directory" : "no regular file";
    throw new LatchkeyError("key-file/not-regular", `${path} on ${device} is ${kind}, not a key file`);
  }
  if (found.size === 0) throw new LatchkeyError("key-file/bad-format", `${path} on ${device} is empty`);
  if (found.size > MAX_SECRET_BYTES) {
    throw new LatchkeyError(
      "key-file/too-large",
      `${path} on ${device} has ${found.size} bytes, and a key has at most ${MAX_SECRET_BYTES}`,
      { hint: "is it really the key file?" },
    );
  }
  fill(file.descriptor, 0, found.size, room, `${path} on ${device}`);
  // Where the driver does not read directly, the kernel at least need not keep what it read.
  libc().posix_fadvise(file.descriptor, 0n, 0n, POSIX_FADV_DONTNEED);
  return found.size;
}

/**
 * Reads a key that lies on the bare device.
 * @param size 1 to MAX_SECRET_BYTES
 * @throws LatchkeyError key-file/…
 */
export function readRawKey(device: string, offset: number, size: number, room: KeyRoom): number {
  using file = openDevice(device);
  const start = Math.floor(offset / ALIGNMENT) * ALIGNMENT;
  const lead = offset - start;
  fill(file.descriptor, start, lead + size, room, `${device} at ${offset}`);
  room.bytes.copyWithin(0, lead, lead + size);
  room.bytes.fill(0, size, lead + size + ALIGNMENT);
  return size;
}

class OpenFile implements Disposable {
  readonly descriptor: number;

  constructor(descriptor: number) {
    this.descriptor = descriptor;
  }

  [Symbol.dispose](): void {
    closeSync(this.descriptor);
  }
}

function openKeyFile(mount: ReadOnlyMount, device: string, path: string): OpenFile {
  let opened = mount.openFile(path, true);
  if ("errno" in opened && opened.errno === EINVAL) opened = mount.openFile(path, false); // isofs, and for directories
  if ("value" in opened) return new OpenFile(opened.value);
  const reason = errnoName(opened.errno);
  switch (reason) {
    case "ENOENT":
    case "ENOTDIR":
      throw new LatchkeyError("key-file/missing", `there is no ${path} on ${device}`);
    case "ELOOP":
      throw new LatchkeyError("key-file/not-regular", `${path} on ${device} is a symbolic link, or lies behind one`, {
        hint: "put the key file itself there",
      });
    case "EXDEV":
      throw new LatchkeyError("key-file/not-regular", `${path} leads out of ${device}`);
    case "ENXIO":
      throw new LatchkeyError("key-file/not-regular", `${path} on ${device} is no regular file, not a key file`);
    default:
      throw new LatchkeyError("key-file/unreadable", `${path} on ${device} cannot be opened (${reason})`);
  }
}

function openDevice(device: string): OpenFile {
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | O_CLOEXEC;
  const open = (more: number): number | NodeJS.ErrnoException => {
    try {
      return openSync(device, flags | more);
    } catch (thrown) {
      return thrown as NodeJS.ErrnoException;
    }
  };
  let opened = open(constants.O_DIRECT);
  if (typeof opened !== "number" && opened.code === "EINVAL") opened = open(0);
  if (typeof opened === "number") return new OpenFile(opened);
  throw new LatchkeyError("key-file/unreadable", `${device} cannot be opened (${opened.code})`);
}

/** Reads until `length` bytes from `start` on are in the room; only whole blocks are asked for, as O_DIRECT wants. */
function fill(descriptor: number, start: number, length: number, room: KeyRoom, what: string): void {
  for (let done = 0; done < length; ) {
    const wanted = Math.ceil((length - done) / ALIGNMENT) * ALIGNMENT;
    const count = Number(libc().pread(descriptor, room.addressOf(done), BigInt(wanted), BigInt(start + done)));
    if (count < 0) {
      throw new LatchkeyError("key-file/unreadable", `${what} cannot be read (${errnoName(lastErrno())})`);
    }
    done += count;
    if (done < length && (count === 0 || count % ALIGNMENT !== 0)) {
      throw new LatchkeyError("key-file/unreadable", `${what} ended after ${done} of ${length} bytes`);
    }
  }
}
