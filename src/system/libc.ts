import { dlopen, FFIType, read } from "bun:ffi";
import { getSystemErrorName } from "node:util";

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
    mlockall: { args: [i32], returns: i32 },
    prctl: { args: [i32, u64, u64, u64, u64], returns: i32 },
    setrlimit: { args: [i32, ptr], returns: i32 },
    clock_gettime: { args: [i32, ptr], returns: i32 },
    alarm: { args: [FFIType.u32], returns: FFIType.u32 },
    mount: { args: [ptr, ptr, ptr, u64, ptr], returns: i32 },
    umount2: { args: [ptr, i32], returns: i32 },
    munmap: { args: [u64, u64], returns: i32 },
    read: { args: [i32, ptr, u64], returns: i64 },
    pread: { args: [i32, ptr, u64, i64], returns: i64 },
    poll: { args: [ptr, u64, i32], returns: i32 },
    // Variadic in C; on x86-64 and arm64 Linux an integer or pointer there is passed like any other argument.
    ioctl: { args: [i32, u64, ptr], returns: i32 },
    memfd_create: { args: [ptr, FFIType.u32], returns: i32 },
    socket: { args: [i32, i32, i32], returns: i32 },
    socketpair: { args: [i32, i32, i32, ptr], returns: i32 },
    bind: { args: [i32, ptr, FFIType.u32], returns: i32 },
    setsockopt: { args: [i32, i32, i32, ptr, FFIType.u32], returns: i32 },
    sendto: { args: [i32, ptr, u64, i32, ptr, FFIType.u32], returns: i64 },
    recvmsg: { args: [i32, ptr, i32], returns: i64 },
    sched_getaffinity: { args: [i32, u64, ptr], returns: i32 },
    sched_setaffinity: { args: [i32, u64, ptr], returns: i32 },
    klogctl: { args: [i32, ptr, i32], returns: i32 },
  }).symbols;
}

let opened: ReturnType<typeof open> | undefined;

/** The C library's functions, bound on first use. */
export function libc(): ReturnType<typeof open> {
  opened ??= open();
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
  return errno > 0 ? getSystemErrorName(-errno) : `errno ${errno}`;
}

/** Text as the NUL-terminated bytes C wants. Never used for secrets. */
export function cString(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}
