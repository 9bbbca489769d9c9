import { ptr } from "bun:ffi";
import { type Clock, monotonicClock } from "../../system/clock.ts";
import { LatchkeyError, oneLine } from "../../system/errors.ts";
import { cString, errnoName, lastErrno, libc } from "../../system/libc.ts";
import { MAX_SECRET_BYTES, SecretBytes } from "../../system/secret-bytes.ts";
import type { ClevisFallback } from "./tools.ts";

/** Milliseconds for a whole decryption: a PKCS#11 pin asks a person for a PIN. */
const FALLBACK_LIMIT = 60_000;
/** Milliseconds between looks at how much it has written. */
const SIZE_CHECK_INTERVAL = 100;
const MAX_COMPLAINT_BYTES = 4096;
const MFD_CLOEXEC = 1;

export interface FallbackOptions {
  /** The program `clevis`. */
  readonly clevis: string;
  /** Where it looks for the programs of its pins: its PATH. */
  readonly path: string;
  readonly timeLimit?: number;
  readonly clock?: Clock;
}

/** The installed clevis, when there is one. */
export function findClevis(): ClevisFallback | undefined {
  const path = process.env["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin";
  const clevis = Bun.which("clevis", { PATH: path });
  return clevis === null ? undefined : clevisFallback({ clevis, path });
}

/**
 * Runs `clevis decrypt` for a token whose pin is not latchkey's. Its output is used only when it ends with status 0: clevis
 * prints the plaintext as it goes and checks the tag afterwards.
 */
export function clevisFallback({
  clevis,
  path,
  timeLimit = FALLBACK_LIMIT,
  clock = monotonicClock,
}: FallbackOptions): ClevisFallback {
  return {
    has: (pin) => Bun.which(`clevis-decrypt-${pin}`, { PATH: path }) !== null,
    async decrypt(compact, signal) {
      using output = new SecretFile();
      const over = new AbortController();
      const stop = AbortSignal.any([signal, over.signal]);
      const child = Bun.spawn([clevis, "decrypt"], {
        // The token alone: clevis takes a line feed after it for a part of it, and fails after it printed the secret.
        stdin: new TextEncoder().encode(compact),
        stdout: output.descriptor,
        stderr: "pipe",
        env: { ...process.env, PATH: path },
        detached: true, // a process group of its own: the pins are pipelines of shell scripts
      });
      let why: string | undefined;
      const kill = (reason: string): void => {
        why ??= reason;
        killGroup(child.pid);
      };
      void clock.sleep(timeLimit, stop).then(() => {
        if (signal.aborted) kill("it was no longer wanted");
        else if (!over.signal.aborted) kill(`it did not end within ${timeLimit / 1000} s`);
      });
      const watch = setInterval(() => {
        if (output.size > MAX_SECRET_BYTES) kill("its output is too long for a secret");
      }, SIZE_CHECK_INTERVAL);
      try {
        const complaint = readComplaint(child.stderr);
        const status = await child.exited;
        killGroup(child.pid); // what it left behind
        if (why === undefined && status === 0) return output.read();
        const said = await complaint;
        throw failed(why ?? `it ended with status ${status}${said === "" ? "" : `: ${said}`}`);
      } finally {
        clearInterval(watch);
        over.abort();
      }
    },
  };
}

/** Loaded when a token needs it: every token looks here whether there is a clevis. */
const nodeFiles = () => require("node:fs") as typeof import("node:fs");

/** A file that is in memory only, for a child to write a secret into; overwritten before it is given back. */
class SecretFile implements Disposable {
  readonly descriptor: number;

  constructor() {
    this.descriptor = libc().memfd_create(ptr(cString("latchkey")), MFD_CLOEXEC);
    if (this.descriptor < 0) throw failed(`there is no memory for its output (${errnoName(lastErrno())})`);
  }

  get size(): number {
    const { fstatSync } = nodeFiles();
    return fstatSync(this.descriptor).size;
  }

  read(): SecretBytes {
    const { size } = this;
    if (size > MAX_SECRET_BYTES) throw failed("its output is too long for a secret");
    const secret = SecretBytes.allocate(size);
    for (let read = 0; read < size; ) {
      const count = Number(libc().pread(this.descriptor, secret.address + read, BigInt(size - read), BigInt(read)));
      if (count > 0) {
        read += count;
        continue;
      }
      secret[Symbol.dispose]();
      throw failed(`its output cannot be read (${errnoName(lastErrno())})`);
    }
    return secret;
  }

  [Symbol.dispose](): void {
    const { closeSync, writeSync } = nodeFiles();
    const zeros = new Uint8Array(64 * 1024);
    const { size } = this;
    for (let at = 0; at < size; at += zeros.length)
      writeSync(this.descriptor, zeros, 0, Math.min(zeros.length, size - at), at);
    closeSync(this.descriptor);
  }
}

/** The last line a child said on standard error, cut short. */
async function readComplaint(stream: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) text = (text + decoder.decode(chunk, { stream: true })).slice(-MAX_COMPLAINT_BYTES);
  return oneLine(text.trim().split("\n").at(-1) ?? "").slice(0, 200);
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, "SIGKILL");
  } catch {
    // Nothing of it is left.
  }
}

function failed(reason: string): LatchkeyError {
  return new LatchkeyError("token/fallback-failed", `clevis decrypt: ${reason}`);
}
