import { ptr } from "bun:ffi";
import { cString, lastErrno, libc } from "./libc.ts";

/** What a system call came to: a number of its own (a descriptor, or 0), or an errno. */
export type CallResult = { readonly value: number } | { readonly errno: number };

/** The system calls that reading a file of a foreign filesystem takes; tests bring their own. All of them may block for long. */
export interface MountCalls {
  /** fsopen(2), close-on-exec. */
  fsopen(type: string): CallResult;
  /** fsconfig(2) with a name and a value, or with a name alone. */
  fsconfig(context: number, name: string, value?: string): CallResult;
  /** fsconfig(2), FSCONFIG_CMD_CREATE: the kernel reads the device here. */
  create(context: number): CallResult;
  /** fsmount(2), close-on-exec: a mount that is in no namespace and goes when its descriptor is closed. */
  fsmount(context: number, attributes: number): CallResult;
  /** openat2(2). @param mode of a file that is made */
  openat2(folder: number, path: string, flags: number, resolve: number, mode?: number): CallResult;
  /** unlinkat(2) of a file. @param name of an entry of the folder itself */
  unlinkat(folder: number, name: string): CallResult;
  openat(folder: number, path: string, flags: number): CallResult;
  unshare(flags: number): CallResult;
  mount(source: string, target: string, type: string, flags: number, data: string): CallResult;
  /** umount2(2) with MNT_DETACH. */
  detach(target: string): CallResult;
}

/**
 * From 424 on the numbers are the same on all processors; the older ones are from arch/x86/entry/syscalls/syscall_64.tbl and
 * include/uapi/asm-generic/unistd.h.
 */
const NUMBERS = { fsopen: 430, fsconfig: 431, fsmount: 432, openat2: 437 } as const;
const OLD_NUMBERS: Partial<Record<string, Readonly<Record<"openat" | "unlinkat" | "unshare", number>>>> = {
  x64: { openat: 257, unlinkat: 263, unshare: 272 },
  arm64: { openat: 56, unlinkat: 35, unshare: 97 },
};

/** include/uapi/linux/mount.h */
const FSOPEN_CLOEXEC = 1;
const FSMOUNT_CLOEXEC = 1;
const FSCONFIG_SET_FLAG = 0;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_CMD_CREATE = 6;
const MNT_DETACH = 2;
/** struct open_how: flags, mode, resolve. */
const OPEN_HOW_BYTES = 24;

export const ENOSYS = 38;

function call(number: number | undefined, ...words: readonly (number | Uint8Array | BigUint64Array)[]): CallResult {
  if (number === undefined) return { errno: ENOSYS };
  const [first = 0n, second = 0n, third = 0n, fourth = 0n, fifth = 0n] = words.map((word) =>
    typeof word === "number" ? BigInt.asUintN(64, BigInt(word)) : BigInt(ptr(word)),
  );
  const value = libc().syscall(BigInt(number), first, second, third, fourth, fifth);
  return value < 0n ? { errno: lastErrno() } : { value: Number(value) };
}

/** The machine's own. */
export const systemMountCalls: MountCalls = {
  fsopen: (type) => call(NUMBERS.fsopen, cString(type), FSOPEN_CLOEXEC),
  fsconfig: (context, name, value) =>
    value === undefined
      ? call(NUMBERS.fsconfig, context, FSCONFIG_SET_FLAG, cString(name))
      : call(NUMBERS.fsconfig, context, FSCONFIG_SET_STRING, cString(name), cString(value)),
  create: (context) => call(NUMBERS.fsconfig, context, FSCONFIG_CMD_CREATE),
  fsmount: (context, attributes) => call(NUMBERS.fsmount, context, FSMOUNT_CLOEXEC, attributes),
  openat2: (folder, path, flags, resolve, mode = 0) => {
    const how = new BigUint64Array([BigInt(flags), BigInt(mode), BigInt(resolve)]);
    return call(NUMBERS.openat2, folder, cString(path), how, OPEN_HOW_BYTES);
  },
  openat: (folder, path, flags) => call(OLD_NUMBERS[process.arch]?.openat, folder, cString(path), flags),
  unlinkat: (folder, name) => call(OLD_NUMBERS[process.arch]?.unlinkat, folder, cString(name), 0),
  unshare: (flags) => call(OLD_NUMBERS[process.arch]?.unshare, flags),
  mount: (source, target, type, flags, data) => {
    const [from, to, kind, options] = [cString(source), cString(target), cString(type), cString(data)];
    const status = libc().mount(ptr(from), ptr(to), ptr(kind), BigInt(flags), ptr(options));
    return status === 0 ? { value: 0 } : { errno: lastErrno() };
  },
  detach: (target) => {
    const path = cString(target);
    return libc().umount2(ptr(path), MNT_DETACH) === 0 ? { value: 0 } : { errno: lastErrno() };
  },
};
