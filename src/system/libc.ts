import { dlopen, FFIType, read } from "bun:ffi";

const { i32, i64, u64, ptr } = FFIType;

/**
 * The C library, opened on first use: everything latchkey needs from the kernel that Bun does not offer. bun:ffi makes its
 * call stubs at run time, so the process must be allowed writable and executable memory (no MemoryDenyWriteExecute=).
 */
function open() {
  return dlopen("libc.so.6", {
    __errno_location: { args: [], returns: ptr },
    syscall: { args: [i64, u64, u64, u64, u64, u64], returns: i64 },
    mmap: { args: [u64, u64, i32, i32, i32, i64], returns: u64 },
    madvise: { args: [u64, u64, i32], returns: i32 },
    mlock: { args: [u64, u64], returns: i32 },
    mlock2: { args: [u64, u64, FFIType.u32], returns: i32 },
    mlockall: { args: [i32], returns: i32 },
    munlockall: { args: [], returns: i32 },
    prctl: { args: [i32, u64, u64, u64, u64], returns: i32 },
    setrlimit: { args: [i32, ptr], returns: i32 },
    clock_gettime: { args: [i32, ptr], returns: i32 },
    alarm: { args: [FFIType.u32], returns: FFIType.u32 },
    mount: { args: [ptr, ptr, ptr, u64, ptr], returns: i32 },
    umount2: { args: [ptr, i32], returns: i32 },
    munmap: { args: [u64, u64], returns: i32 },
    // The mode, which is for files that are made, is left out.
    open: { args: [ptr, i32], returns: i32 },
    close: { args: [i32], returns: i32 },
    read: { args: [i32, ptr, u64], returns: i64 },
    write: { args: [i32, ptr, u64], returns: i64 },
    isatty: { args: [i32], returns: i32 },
    pread: { args: [i32, ptr, u64, i64], returns: i64 },
    poll: { args: [ptr, u64, i32], returns: i32 },
    // Variadic in C; on x86-64 and arm64 Linux an integer or pointer there is passed like any other argument.
    ioctl: { args: [i32, u64, ptr], returns: i32 },
    memfd_create: { args: [ptr, FFIType.u32], returns: i32 },
    posix_fadvise: { args: [i32, i64, i64, i32], returns: i32 },
    lseek: { args: [i32, i64, i32], returns: i64 },
    socket: { args: [i32, i32, i32], returns: i32 },
    socketpair: { args: [i32, i32, i32, ptr], returns: i32 },
    bind: { args: [i32, ptr, FFIType.u32], returns: i32 },
    connect: { args: [i32, ptr, FFIType.u32], returns: i32 },
    listen: { args: [i32, i32], returns: i32 },
    accept4: { args: [i32, ptr, ptr, i32], returns: i32 },
    getpeername: { args: [i32, ptr, ptr], returns: i32 },
    getsockopt: { args: [i32, i32, i32, ptr, ptr], returns: i32 },
    setsockopt: { args: [i32, i32, i32, ptr, FFIType.u32], returns: i32 },
    sendto: { args: [i32, ptr, u64, i32, ptr, FFIType.u32], returns: i64 },
    recvmsg: { args: [i32, ptr, i32], returns: i64 },
    sched_getaffinity: { args: [i32, u64, ptr], returns: i32 },
    sched_setaffinity: { args: [i32, u64, ptr], returns: i32 },
    flock: { args: [i32, i32], returns: i32 },
    klogctl: { args: [i32, ptr, i32], returns: i32 },
  }).symbols;
}

type Libc = ReturnType<typeof open>;

/** What every command with a secret calls, again: binding all functions takes Bun a third of a millisecond. */
function openFirst() {
  return dlopen("libc.so.6", {
    mmap: { args: [u64, u64, i32, i32, i32, i64], returns: u64 },
    madvise: { args: [u64, u64, i32], returns: i32 },
    mlock: { args: [u64, u64], returns: i32 },
    mlock2: { args: [u64, u64, FFIType.u32], returns: i32 },
    mlockall: { args: [i32], returns: i32 },
    prctl: { args: [i32, u64, u64, u64, u64], returns: i32 },
    setrlimit: { args: [i32, ptr], returns: i32 },
    clock_gettime: { args: [i32, ptr], returns: i32 },
    open: { args: [ptr, i32], returns: i32 },
    close: { args: [i32], returns: i32 },
    read: { args: [i32, ptr, u64], returns: i64 },
    write: { args: [i32, ptr, u64], returns: i64 },
    isatty: { args: [i32], returns: i32 },
  }).symbols satisfies Partial<Libc>;
}

let opened: Libc | undefined;

/** The C library's functions, bound on first use: the few, and all of them as soon as another one is asked for. */
export function libc(): Libc {
  if (opened) return opened;
  const bound: Partial<Libc> = { ...openFirst() };
  const others = new Proxy(
    {},
    {
      get: (_, name) =>
        Object.hasOwn(bound, "__errno_location") ? undefined : Object.assign(bound, open())[name as keyof Libc],
    },
  );
  opened = Object.setPrototypeOf(bound, others) as Libc;
  return opened;
}

/**
 * errno of this thread's last failed call. Read it at once: nothing may run between the call and this.
 * @returns the number, as in errno(3)
 */
export function lastErrno(): number {
  const location = libc().__errno_location();
  return location === null ? 0 : read.i32(location, 0);
}

/** `EACCES` for 13: errno as the manual pages spell it. */
export function errnoName(errno: number): string {
  if (errno <= 0) return `errno ${errno}`;
  // Loaded when something failed: it takes Bun two milliseconds, half of what it needs to start.
  const { getSystemErrorName } = require("node:util") as typeof import("node:util");
  return getSystemErrorName(-errno);
}

/** Text as the NUL-terminated bytes C wants. Never used for secrets. */
export function cString(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}
