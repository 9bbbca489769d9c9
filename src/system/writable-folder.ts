import { closeSync, constants, fstatSync, fsyncSync, openSync, readdirSync, writeSync } from "node:fs";
import { basename, dirname } from "node:path";
import { LatchkeyError } from "./errors.ts";
import { errnoName } from "./libc.ts";
import { type CallResult, type MountCalls, systemMountCalls } from "./mount-calls.ts";
import { type FilesystemType, mountForWriting } from "./mounts.ts";
import { MAX_SECRET_BYTES, type SecretBytes } from "./secret-bytes.ts";

/** The same on x86-64 and arm64, include/uapi/asm-generic/fcntl.h. */
const O_CLOEXEC = 0o2000000;
const KEY_MODE = 0o400;
/** include/uapi/linux/openat2.h: no other mount, no links of /proc, no symbolic links, nothing above the folder. */
const RESOLVE_ALL = 1 | 2 | 4 | 8;

/**
 * The root of a stick's filesystem, to write a key file to it: mounted where nobody else sees it, or where its owner has mounted it.
 * Paths are taken below it and through no symbolic link. The calls may block for as long as the device does: for commands that a
 * person waits for.
 */
export class WritableFolder implements Disposable {
  readonly #folder: number;
  readonly #calls: MountCalls;

  private constructor(folder: number, calls: MountCalls) {
    this.#folder = folder;
    this.#calls = calls;
  }

  /** @throws LatchkeyError key-file/mount-failed, key-file/no-driver */
  static mount(device: string, type: FilesystemType, calls: MountCalls = systemMountCalls): WritableFolder {
    return new WritableFolder(mountForWriting(device, type, calls), calls);
  }

  static at(folder: string, calls: MountCalls = systemMountCalls): WritableFolder {
    return new WritableFolder(openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY | O_CLOEXEC), calls);
  }

  /** Names in the top folder, sorted. */
  list(): readonly string[] {
    return readdirSync(`/proc/self/fd/${this.#folder}`).sort();
  }

  /** Anything of this name, also a link that leads nowhere. */
  has(path: string): boolean {
    const opened = this.#open(path, constants.O_RDONLY | constants.O_NONBLOCK, 0);
    if ("value" in opened) closeSync(opened.value);
    return "value" in opened || !["ENOENT", "ENOTDIR"].includes(errnoName(opened.errno));
  }

  /**
   * A new file with this content, on the medium when this returns.
   * @throws LatchkeyError enroll/cannot-write; nothing of it stays then
   */
  create(path: string, content: SecretBytes): void {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const opened = this.#open(path, flags, KEY_MODE);
    if ("errno" in opened) throw cannotWrite(path, errnoName(opened.errno));
    try {
      const { bytes } = content;
      for (let at = 0; at < bytes.length; ) at += writeSync(opened.value, bytes, at, bytes.length - at, at);
      fsyncSync(opened.value);
      closeSync(opened.value);
    } catch (cause) {
      try {
        this.#remove(path);
      } catch {
        // Why it could not be written says it all.
      }
      throw cannotWrite(path, (cause as NodeJS.ErrnoException).code ?? "unknown error", cause);
    }
    this.#syncFolder(path);
  }

  /**
   * Writes zeros over a file and takes it away; a stick may keep what was there in its spare cells. False when there is none.
   * @throws LatchkeyError enroll/cannot-write when it is there still
   */
  remove(path: string): boolean {
    try {
      return this.#remove(path);
    } catch (cause) {
      throw cannotWrite(path, (cause as NodeJS.ErrnoException).code ?? "unknown error", cause);
    }
  }

  #remove(path: string): boolean {
    const opened = this.#open(path, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW, 0);
    if ("errno" in opened) {
      const code = errnoName(opened.errno);
      if (code === "ENOENT" || code === "ENOTDIR") return false;
      throw Object.assign(new Error(code), { code });
    }
    try {
      const { size } = fstatSync(opened.value);
      writeSync(opened.value, new Uint8Array(Math.min(size, MAX_SECRET_BYTES)), 0, null, 0);
      fsyncSync(opened.value);
    } finally {
      closeSync(opened.value);
    }
    const parent = this.#open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY, 0);
    if ("errno" in parent) return false;
    try {
      const removed = this.#calls.unlinkat(parent.value, basename(path));
      fsyncSync(parent.value);
      return "value" in removed;
    } finally {
      closeSync(parent.value);
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#folder);
  }

  #open(path: string, flags: number, mode: number): CallResult {
    return this.#calls.openat2(this.#folder, path, flags | O_CLOEXEC, RESOLVE_ALL, mode);
  }

  /** The name, too, is on the medium. */
  #syncFolder(path: string): void {
    const opened = this.#open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY, 0);
    if ("errno" in opened) return;
    try {
      fsyncSync(opened.value);
    } finally {
      closeSync(opened.value);
    }
  }
}

function cannotWrite(path: string, reason: string, cause?: unknown): LatchkeyError {
  const words: Readonly<Record<string, string>> = {
    EEXIST: "something of this name is there already",
    ENOENT: "there is no such folder",
    ENOSPC: "the stick is full",
    EROFS: "the stick is write-protected",
    ELOOP: "a symbolic link is on the way",
  };
  return new LatchkeyError("enroll/cannot-write", `cannot write ${path} to the stick: ${words[reason] ?? reason}`, {
    cause,
  });
}
