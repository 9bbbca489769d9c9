import { ptr } from "bun:ffi";
import { readSome } from "./descriptor.ts";
import { cString, libc } from "./libc.ts";

const PR_SET_DUMPABLE = 4;
const RLIMIT_CORE = 4;
const MCL_CURRENT = 1;
const MCL_FUTURE = 2;
const MCL_ONFAULT = 4;
const MLOCK_ONFAULT = 1;
const O_RDONLY_CLOEXEC = 0o2000000;
const READ_BYTES = 16 * 1024;

export interface Hardening {
  /** No core dump and no ptrace by processes of the same user, prctl(2). */
  readonly undumpable: boolean;
  /** Nothing that this process writes is swapped out, mlock(2); needs root or CAP_IPC_LOCK. */
  readonly memoryLocked: boolean;
}

/**
 * Called first by every command that handles secrets. Best effort: a refusal is returned, not thrown, since a machine that
 * cannot lock memory must still boot.
 */
export function hardenProcess(): Hardening {
  const undumpable = libc().prctl(PR_SET_DUMPABLE, 0n, 0n, 0n, 0n) === 0;
  const noCore = new BigUint64Array([0n, 0n]);
  libc().setrlimit(RLIMIT_CORE, ptr(noCore));
  const memoryLocked = process.getuid?.() === 0 && lockMemory();
  return { undumpable, memoryLocked };
}

/**
 * Locks all that is mapped now, except files that are only read, and all that is mapped from now on; each page when it is
 * touched, or Bun's gigabytes of reserved address space would become resident. With the program's own file in it, which has
 * 100 MB and holds nothing of ours, this takes a seventh of the time that a short command takes as a whole.
 */
function lockMemory(): boolean {
  // First what is to come, so that nothing that another thread maps meanwhile is missed.
  if (libc().mlockall(MCL_FUTURE | MCL_ONFAULT) !== 0) return false;
  const maps = ownMappings();
  if (maps !== undefined && lockWhatIsWritten(maps)) return true;
  if (libc().mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) === 0) return true;
  // Without the right to lock as much as it likes (RLIMIT_MEMLOCK), a process under MCL_FUTURE can map nothing any more.
  libc().munlockall();
  return false;
}

function lockWhatIsWritten(maps: string): boolean {
  for (const { start, end } of writtenRanges(maps)) {
    if (libc().mlock2(BigInt(start), BigInt(end - start), MLOCK_ONFAULT) !== 0) return false;
  }
  return true;
}

/**
 * What of a process is written, or may come to be.
 * @param maps of proc(5), `START-END rw-p OFFSET DEVICE INODE NAME` for each mapping, ascending
 * @returns addresses; mappings without a gap between are one range
 */
export function writtenRanges(maps: string): readonly { readonly start: number; readonly end: number }[] {
  const ranges: { start: number; end: number }[] = [];
  let last = { start: 0, end: 0 };
  for (const line of maps.split("\n")) {
    const dash = line.indexOf("-");
    const space = line.indexOf(" ", dash);
    const permissions = line.slice(space + 1, space + 4);
    // Reserved now, and given rights when it is needed: the heap grows that way.
    const isReserved = permissions === "---";
    if (!isReserved && permissions[1] !== "w") continue;
    const start = Number.parseInt(line.slice(0, dash), 16);
    const end = Number.parseInt(line.slice(dash + 1, space), 16);
    if (start !== last.end) {
      last = { start, end };
      ranges.push(last);
    }
    last.end = end;
  }
  return ranges;
}

function ownMappings(): string | undefined {
  const descriptor = libc().open(ptr(cString("/proc/self/maps")), O_RDONLY_CLOEXEC);
  if (descriptor < 0) return undefined;
  try {
    const room = new Uint8Array(READ_BYTES);
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const read = readSome(descriptor, room);
      if ("errno" in read) return undefined;
      if (read.bytes === 0) return text;
      text += decoder.decode(room.subarray(0, read.bytes), { stream: true });
    }
  } finally {
    libc().close(descriptor);
  }
}

/**
 * A dead man's switch: SIGALRM, left at its default action, ends the process when the event loop has not turned for
 * `seconds`. A defect that spins then becomes a crash, and a crash lets the boot go on to the system's own question.
 * @returns a function that disarms it
 */
export function armDeadMansSwitch(seconds: number): () => void {
  const rearm = (): void => {
    libc().alarm(seconds);
  };
  rearm();
  const timer = setInterval(rearm, (seconds * 1000) / 4);
  timer.unref();
  return () => {
    clearInterval(timer);
    libc().alarm(0);
  };
}
