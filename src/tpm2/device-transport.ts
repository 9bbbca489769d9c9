import type { FileHandle } from "node:fs/promises";
import { monotonicClock } from "../system/clock.ts";
import { LatchkeyError } from "../system/errors.ts";
import { brokenAnswer, HEADER_BYTES, orAborted, statedSize, type TpmTransport } from "./transport.ts";
import { MAX_MESSAGE_BYTES } from "./wire.ts";

/** Between two looks for the node: short beside a boot, long beside the cost of a look. */
const LOOK_INTERVAL = 20;

/** What the kernel knows about TPMs; replaced in tests. */
export interface TpmNodes {
  /** Nodes of /dev, without the path. */
  devices(): readonly string[];
  /** `1` or `2` for the chip tpm0, where the kernel says so (since Linux 5.5). */
  majorVersion(): string | undefined;
  /** For reading and writing. Rejects with an errno. */
  open(path: string): Promise<FileHandle>;
}

/** Loaded when it is needed: it takes Bun milliseconds, and who has a TPM behind a socket does without. */
const nodeFiles = () => require("node:fs") as typeof import("node:fs");

const systemNodes: TpmNodes = {
  devices() {
    try {
      return nodeFiles().readdirSync("/dev");
    } catch {
      return [];
    }
  },
  majorVersion() {
    try {
      return nodeFiles().readFileSync("/sys/class/tpm/tpm0/tpm_version_major", "latin1").trim();
    } catch {
      return undefined;
    }
  },
  open: (path) => nodeFiles().promises.open(path, "r+"),
};

/**
 * Opens a TPM's device node, waiting for it to turn up: its driver (tpm_tis, tpm_crb) may load while we are already here.
 * Without a path the first /dev/tpmrm? is taken, as clevis does. /dev/tpmrm0 has the kernel's resource manager, which frees
 * what we leave behind when the node is closed; /dev/tpm0 has not, and takes one user at a time.
 * @param path the node, or undefined for the first
 * @param waitLimit milliseconds to wait for the node
 * @throws LatchkeyError tpm2/absent, tpm2/busy, tpm2/unreachable; the signal's reason
 */
export async function openDevice(
  path: string | undefined,
  waitLimit: number,
  signal: AbortSignal,
  nodes: TpmNodes = systemNodes,
): Promise<TpmTransport> {
  const deadline = monotonicClock.now() + waitLimit;
  let last: unknown;
  for (;;) {
    signal.throwIfAborted();
    const node = path ?? firstResourceManager(nodes);
    if (node !== undefined) {
      try {
        return new DeviceTransport(node, await nodes.open(node));
      } catch (error) {
        last = error;
        // Another user of /dev/tpm0 may finish; udev may still be making the node. Everything else will not change.
        if (!["ENOENT", "ENXIO", "ENODEV", "EBUSY"].includes(errnoOf(error))) break;
      }
    }
    if (monotonicClock.now() >= deadline) break;
    await monotonicClock.sleep(LOOK_INTERVAL, signal);
  }
  throw openError(path, last, waitLimit, nodes);
}

function firstResourceManager(nodes: TpmNodes): string | undefined {
  const first = nodes
    .devices()
    .filter((name) => /^tpmrm\d+$/.test(name))
    .sort((one, other) => Number(one.slice(5)) - Number(other.slice(5)))[0];
  return first === undefined ? undefined : `/dev/${first}`;
}

function openError(path: string | undefined, cause: unknown, waitLimit: number, nodes: TpmNodes): LatchkeyError {
  const errno = cause === undefined ? "ENOENT" : errnoOf(cause);
  const node = path ?? "/dev/tpmrm0";
  const seconds = waitLimit / 1000;
  switch (errno) {
    case "ENOENT":
    case "ENXIO":
    case "ENODEV":
      if (nodes.majorVersion() === "1") {
        return new LatchkeyError("tpm2/absent", `${node} is not there: this machine has a TPM 1.2, not a TPM 2.0`);
      }
      return new LatchkeyError("tpm2/absent", `no TPM: ${node} did not turn up within ${seconds} s`, {
        cause,
        hint: "is the TPM enabled in the firmware setup, and is its driver (tpm_tis, tpm_crb) in the initrd?",
      });
    case "EBUSY":
      return new LatchkeyError("tpm2/busy", `${node}: another program has held it for ${seconds} s`, {
        cause,
        hint: "use /dev/tpmrm0, which several programs can share",
      });
    case "EACCES":
    case "EPERM":
      return new LatchkeyError("tpm2/unreachable", `${node}: no permission to open it (${errno})`, {
        cause,
        hint: "run as root, or as a member of the group tss",
      });
    default:
      return new LatchkeyError("tpm2/unreachable", `${node}: it cannot be opened (${errno})`, { cause });
  }
}

function errnoOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? "unknown error";
}

/**
 * One write(2) is one command, one read(2) its response (drivers/char/tpm/tpm-dev-common.c). The write blocks while the TPM
 * works, for an RSA primary tens of seconds, so both run on Bun's thread pool and the question stays alive. O_NONBLOCK with
 * poll(2) would not help: since Linux 5.0 poll takes the lock that the working command holds. A system call that waits in
 * the kernel cannot be taken back: after an abort the file is closed once it has come back.
 */
class DeviceTransport implements TpmTransport {
  readonly name: string;
  readonly #file: FileHandle;
  #working: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(name: string, file: FileHandle) {
    this.name = name;
    this.#file = file;
  }

  transmit(command: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    if (this.#closed) return Promise.reject(new LatchkeyError("tpm2/unreachable", `${this.name}: it was closed`));
    const exchange = this.#exchange(command);
    this.#working = exchange.catch(() => undefined);
    return orAborted(exchange, signal);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    void this.#working.then(() => this.#file.close()).catch(() => undefined);
  }

  async #exchange(command: Uint8Array): Promise<Uint8Array> {
    const room = new Uint8Array(MAX_MESSAGE_BYTES);
    let got = 0;
    let size = HEADER_BYTES;
    try {
      const { bytesWritten } = await this.#file.write(command, 0, command.length, null);
      if (bytesWritten !== command.length) {
        throw new LatchkeyError("tpm2/unreachable", `${this.name}: it took only ${bytesWritten} bytes of a command`);
      }
      while (got < size) {
        // The kernel gives the rest of a response on the next read, or nothing when there is none.
        const { bytesRead } = await this.#file.read(room, got, room.length - got, null);
        if (bytesRead === 0) throw brokenAnswer(this.name, got, size);
        got += bytesRead;
        if (got >= HEADER_BYTES) size = statedSize(room, this.name);
      }
    } catch (error) {
      if (error instanceof LatchkeyError) throw error;
      throw this.#ioError(error);
    }
    if (got !== size) throw brokenAnswer(this.name, got, size);
    return room.subarray(0, got);
  }

  #ioError(cause: unknown): LatchkeyError {
    const errno = errnoOf(cause);
    if (errno === "EBUSY") {
      return new LatchkeyError("tpm2/busy", `${this.name}: an answer that nobody fetched is in the way (EBUSY)`);
    }
    const words = errno === "ETIME" || errno === "ETIMEDOUT" ? "the driver gave up waiting for it" : "it failed";
    return new LatchkeyError("tpm2/unreachable", `${this.name}: ${words} (${errno})`, {
      cause,
      hint: "restart the machine; the kernel log (dmesg) may say more",
    });
  }
}
