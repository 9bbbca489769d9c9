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
    mlockall: { args: [i32], returns: i32 },
    prctl: { args: [i32, u64, u64, u64, u64], returns: i32 },
    setrlimit: { args: [i32, ptr], returns: i32 },
    alarm: { args: [FFIType.u32], returns: FFIType.u32 },
    mount: { args: [ptr, ptr, ptr, u64, ptr], returns: i32 },
    umount2: { args: [ptr, i32], returns: i32 },
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

/** Text as the NUL-terminated bytes C wants. Never used for secrets. */
export function cString(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}
