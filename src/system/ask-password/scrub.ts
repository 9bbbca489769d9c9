import { closeSync } from "node:fs";
import { libc } from "../libc.ts";

/**
 * What a passphrase leaves behind in memory that the kernel has freed but not wiped. It went through a socket buffer on its
 * way from an agent to us, and through the heap of askpass; both are given back with their content. We cannot reach them
 * there, but we can make the kernel hand the same memory out again and fill it: its free lists give back first what was
 * freed last, and each processor has its own. The numbers below are what to turn when a measurement finds a copy
 * (test/vm looks for one in the guest's whole memory). Nothing here fails: it is one defence more, not a condition.
 * Both run in the next turn of the event loop: the answer is passed on first, and a worker derives its key meanwhile.
 */
export interface ScrubPlan {
  /** Messages of zeros sent on each processor, each as long as the answer, in so many socket pairs. */
  readonly socketPairs: number;
  readonly messagesPerPair: number;
  /** Bytes of fresh pages taken, zeroed by the kernel and given back on each processor. */
  readonly pageBytes: number;
  /** Processors visited at most, so that a large machine does not wait for this. */
  readonly processors: number;
}

/**
 * 256 messages are eight times what a slab page and a processor's share of partly used ones hold of the caches that take a
 * passphrase (skbuff_small_head since Linux 6.3, kmalloc-512 to kmalloc-1k before). 8 MiB is more than askpass's whole heap
 * and stack. Together a few milliseconds for each processor.
 */
const defaultScrubPlan: ScrubPlan = {
  socketPairs: 4,
  messagesPerPair: 64,
  pageBytes: 8 * 1024 * 1024,
  processors: 64,
};

const AF_UNIX = 1;
const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000;
const MSG_DONTWAIT_NOSIGNAL = 0x40 | 0x4000;

const PROT_READ_WRITE = 0x1 | 0x2;
const MAP_PRIVATE_ANONYMOUS = 0x2 | 0x20;
const MADV_NOHUGEPAGE = 15;
const MADV_POPULATE_WRITE = 23; // since Linux 5.14

/** Fills the socket buffers that a message of `length` bytes may have lain in. */
export function scrubSocketBuffers(length: number, plan: ScrubPlan = defaultScrubPlan): void {
  const zeros = new Uint8Array(Math.max(1, length));
  soonOnEachProcessor(plan.processors, () => {
    const open: number[] = [];
    for (let pair = 0; pair < plan.socketPairs; pair++) {
      const ends = new Int32Array(2);
      if (libc().socketpair(AF_UNIX, SOCK_STREAM_NONBLOCK_CLOEXEC, 0, ends) < 0) break;
      open.push(...ends);
      // A stream, because the queue of a datagram socket may be limited to ten (net.unix.max_dgram_qlen); unread messages
      // on a stream stay apart, each in a buffer of its own, until the sender's allowance is used up.
      const [writer = -1] = ends;
      for (let sent = 0; sent < plan.messagesPerPair; sent++) {
        if (libc().sendto(writer, zeros, BigInt(zeros.length), MSG_DONTWAIT_NOSIGNAL, null, 0) < 0n) break;
      }
    }
    for (const fd of open) closeSync(fd);
  });
}

/** Makes the kernel hand out and zero pages that another process has just given back. */
export function scrubFreedPages(plan: ScrubPlan = defaultScrubPlan): void {
  const length = BigInt(plan.pageBytes);
  soonOnEachProcessor(plan.processors, () => {
    const address = libc().mmap(0n, length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0n);
    if (BigInt.asIntN(64, BigInt(address)) <= 0n) return;
    // Single pages: a huge one would be taken from elsewhere and leave the freed ones alone.
    libc().madvise(address, length, MADV_NOHUGEPAGE);
    if (libc().madvise(address, length, MADV_POPULATE_WRITE) < 0) libc().mlock(address, length); // brings them in, too
    libc().munmap(address, length);
  });
}

function soonOnEachProcessor(limit: number, work: () => void): void {
  setImmediate(() => onEachProcessor(limit, work));
}

/** Runs `work` on each processor this thread may use, sched_setaffinity(2), and returns to where it may run. */
function onEachProcessor(limit: number, work: () => void): void {
  const allowed = new Uint8Array(128); // cpu_set_t: 1024 processors
  if (libc().sched_getaffinity(0, BigInt(allowed.length), allowed) < 0) {
    work(); // where we happen to run is better than nowhere
    return;
  }
  const processors = [...allowed.keys()].flatMap((index) => bitsOf(allowed[index] ?? 0).map((bit) => index * 8 + bit));
  try {
    for (const processor of processors.slice(0, limit)) {
      const one = new Uint8Array(allowed.length);
      one[processor >> 3] = 1 << (processor & 7);
      if (libc().sched_setaffinity(0, BigInt(one.length), one) === 0) work();
    }
  } finally {
    libc().sched_setaffinity(0, BigInt(allowed.length), allowed);
  }
}

function bitsOf(byte: number): number[] {
  return [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => (byte & (1 << bit)) !== 0);
}
