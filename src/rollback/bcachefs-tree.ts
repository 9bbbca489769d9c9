import { ptr } from "bun:ffi";
import { closeSync, constants, mkdirSync, openSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { LatchkeyError } from "../system/errors.ts";
import { cString, errnoName, lastErrno, libc } from "../system/libc.ts";
import type { Standing } from "./plan.ts";
import type { Tree } from "./run.ts";

/** struct bch_ioctl_subvolume of bcachefs-tools' fs/bcachefs_ioctl.h: flags, dirfd, mode and padding, dst_ptr, src_ptr. */
const REQUEST_BYTES = 32;
/** _IOW(0xbc, 16, …) and _IOW(0xbc, 17, …), the same on x86-64 and arm64 (include/uapi/asm-generic/ioctl.h). */
const SUBVOLUME_CREATE = 0x4020bc10n;
const SUBVOLUME_DESTROY = 0x4020bc11n;
const SNAPSHOT_CREATE = 1;

/** Numbers of system calls: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h. */
const NUMBERS: Partial<
  Record<string, { readonly renameat2: bigint; readonly statx: bigint; readonly syncfs: bigint }>
> = {
  x64: { renameat2: 316n, statx: 332n, syncfs: 306n },
  arm64: { renameat2: 276n, statx: 291n, syncfs: 267n },
};

/** include/uapi/linux/fcntl.h */
const AT_FDCWD = -100n;
const AT_SYMLINK_NOFOLLOW = 0x100n;
/** include/uapi/linux/fs.h */
const RENAME_NOREPLACE = 1n;
const RENAME_EXCHANGE = 2n;

/** struct statx of include/uapi/linux/stat.h: where these members are. */
const STATX = { bytes: 256, mask: 0, mode: 28, subvolume: 160 } as const;
const STATX_TYPE = 1;
/** Since Linux 6.10. */
const STATX_SUBVOL = 0x8000;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;

const ENOENT = 2;
const ENOTDIR = 20;

/** What errno means where a person would not guess it. */
const meanings: Readonly<Record<number, string>> = {
  18: "it is on another filesystem",
  28: "no space left on the device",
  30: "the filesystem is read-only",
  39: "it holds subvolumes of its own",
};

/** A mounted bcachefs, changed by the kernel's own calls: the tool is in no dracut image and its options change. */
export class BcachefsTree implements Tree {
  readonly #top: string;

  /** @param top where the whole filesystem is mounted */
  constructor(top: string) {
    this.#top = top;
  }

  look(path: string): Standing {
    let here = this.#top;
    let above = this.#stat(here, path);
    let standing: Standing = "absent";
    for (const part of path.split("/")) {
      if (above === undefined) return "absent";
      if (!above.isFolder) return "other"; // a symbolic link on the way could lead anywhere
      here = join(here, part);
      const found = this.#stat(here, path);
      standing = found === undefined ? "absent" : standingOf(found, above);
      above = found;
    }
    return standing;
  }

  list(path: string): readonly string[] {
    try {
      return readdirSync(join(this.#top, path)).sort();
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw failed(`cannot list ${path}`, String((thrown as NodeJS.ErrnoException).code), thrown);
    }
  }

  makeFolder(path: string): void {
    try {
      mkdirSync(join(this.#top, path), { recursive: true, mode: 0o700 });
    } catch (thrown) {
      throw failed(`cannot make the folder ${path}`, String((thrown as NodeJS.ErrnoException).code), thrown);
    }
  }

  snapshot(of: string, path: string): void {
    this.#ioctl(SUBVOLUME_CREATE, SNAPSHOT_CREATE, path, of, `cannot snapshot ${of} to ${path}`);
  }

  deleteSubvolume(path: string): void {
    this.#ioctl(SUBVOLUME_DESTROY, 0, path, undefined, `cannot delete ${path}`);
  }

  rename(from: string, to: string): void {
    this.#rename(from, to, RENAME_NOREPLACE, `cannot rename ${from} to ${to}`);
  }

  exchange(one: string, other: string): void {
    this.#rename(one, other, RENAME_EXCHANGE, `cannot exchange ${one} and ${other}`);
  }

  sync(): void {
    this.#withTop((top) => {
      if (libc().syscall(numbers().syncfs, BigInt(top), 0n, 0n, 0n, 0n) < 0n) {
        throw failed("cannot write the filesystem out", errnoText(lastErrno()));
      }
    });
  }

  #stat(absolute: string, path: string): Found | undefined {
    const [name, room] = [cString(absolute), new DataView(new ArrayBuffer(STATX.bytes))];
    const status = libc().syscall(
      numbers().statx,
      AT_FDCWD_ARGUMENT,
      BigInt(ptr(name)),
      AT_SYMLINK_NOFOLLOW,
      BigInt(STATX_TYPE | STATX_SUBVOL),
      BigInt(ptr(room.buffer as ArrayBuffer)),
    );
    if (status < 0n) {
      const errno = lastErrno();
      if (errno === ENOENT || errno === ENOTDIR) return undefined;
      throw failed(`cannot look at ${path}`, errnoText(errno));
    }
    const knowsSubvolume = (room.getUint32(STATX.mask, true) & STATX_SUBVOL) !== 0;
    return {
      isFolder: (room.getUint16(STATX.mode, true) & S_IFMT) === S_IFDIR,
      subvolume: knowsSubvolume ? room.getBigUint64(STATX.subvolume, true) : undefined,
    };
  }

  #rename(from: string, to: string, flags: bigint, what: string): void {
    const [one, other] = [cString(join(this.#top, from)), cString(join(this.#top, to))];
    const status = libc().syscall(
      numbers().renameat2,
      AT_FDCWD_ARGUMENT,
      BigInt(ptr(one)),
      AT_FDCWD_ARGUMENT,
      BigInt(ptr(other)),
      flags,
    );
    if (status < 0n) throw failed(what, errnoText(lastErrno()));
  }

  #ioctl(command: bigint, flags: number, path: string, of: string | undefined, what: string): void {
    const target = cString(join(this.#top, path));
    const source = of === undefined ? undefined : cString(join(this.#top, of));
    const request = new DataView(new ArrayBuffer(REQUEST_BYTES));
    request.setUint32(0, flags, true);
    request.setInt32(4, Number(AT_FDCWD), true);
    request.setUint16(8, 0o755, true);
    request.setBigUint64(16, BigInt(ptr(target)), true);
    request.setBigUint64(24, source === undefined ? 0n : BigInt(ptr(source)), true);
    this.#withTop((top) => {
      if (libc().ioctl(top, command, ptr(request.buffer as ArrayBuffer)) < 0) {
        throw failed(what, errnoText(lastErrno()));
      }
    });
  }

  #withTop(work: (descriptor: number) => void): void {
    const descriptor = openSync(this.#top, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      work(descriptor);
    } finally {
      closeSync(descriptor);
    }
  }
}

interface Found {
  readonly isFolder: boolean;
  /** Undefined where the kernel does not say. */
  readonly subvolume: bigint | undefined;
}

/** A subvolume has another number than the folder it lies in. A kernel that says nothing is believed: it will refuse. */
function standingOf(found: Found, above: Found): Standing {
  if (!found.isFolder) return "other";
  if (found.subvolume === undefined || above.subvolume === undefined) return "subvolume";
  return found.subvolume === above.subvolume ? "folder" : "subvolume";
}

const AT_FDCWD_ARGUMENT = BigInt.asUintN(64, AT_FDCWD);

function numbers(): NonNullable<(typeof NUMBERS)[string]> {
  const known = NUMBERS[process.arch];
  if (known) return known;
  throw failed("cannot change subvolumes", `latchkey does not know the system calls of ${process.arch}`);
}

function errnoText(errno: number): string {
  const meaning = meanings[errno];
  return meaning === undefined ? errnoName(errno) : `${meaning} (${errnoName(errno)})`;
}

function failed(what: string, why: string, cause?: unknown): LatchkeyError {
  return new LatchkeyError("rollback/failed", `${what}: ${why}`, cause === undefined ? {} : { cause });
}
