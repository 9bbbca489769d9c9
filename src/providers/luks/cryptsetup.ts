import { ptr } from "bun:ffi";
import { closeSync, writeSync } from "node:fs";
import { LatchkeyError, oneLine } from "../../system/errors.ts";
import { cString, errnoName, lastErrno, libc } from "../../system/libc.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";

/** One call of cryptsetup. */
export interface CryptsetupCall {
  readonly args: readonly string[];
  /** Files that hold them are at keyFile(0), keyFile(1), …, for this call only. */
  readonly secrets?: readonly SecretBytes[];
  /** On standard input; never a secret. */
  readonly input?: string;
  /** Ends it early. Nothing that writes to a header is ended early: only its limit ends that. */
  readonly signal?: AbortSignal;
}

export interface CryptsetupEnd {
  readonly status: number;
  readonly output: string;
  /** The last line it said on standard error. */
  readonly complaint: string;
}

/** Runs cryptsetup; tests bring their own. */
export type RunCryptsetup = (call: CryptsetupCall) => Promise<CryptsetupEnd>;

/** The exit status for "no permission (bad passphrase)", cryptsetup(8). */
export const BAD_PASSPHRASE = 2;

/** Milliseconds: each of 32 key slots may take Argon2 two seconds, and a machine short of memory swaps meanwhile. */
const LIMIT = 180_000;
/** Octets of a header's JSON, LUKS2_HDR_MAX_MDA_SIZE of cryptsetup, and of what it may say besides. */
const MAX_OUTPUT = 5 * 1024 * 1024;
const MAX_COMPLAINT = 300;

const FIRST_DESCRIPTOR = 3;
const MFD_CLOEXEC = 1;

/** The path by which cryptsetup finds the secret with this number. */
export function keyFile(index: number): string {
  return `/proc/self/fd/${FIRST_DESCRIPTOR + index}`;
}

/** The machine's own. @throws LatchkeyError luks/tool-missing, luks/tool-failed */
export const runCryptsetup: RunCryptsetup = async ({ args, secrets = [], input, signal }) => {
  const program = Bun.which("cryptsetup", { PATH: process.env["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin" });
  if (program === null) {
    throw new LatchkeyError("luks/tool-missing", "cryptsetup is not installed, and LUKS headers belong to it");
  }
  using files = new DisposableStack();
  const descriptors = secrets.map((secret) => files.use(new SecretFile(secret)).descriptor);
  const limit = AbortSignal.timeout(LIMIT);
  const child = Bun.spawn([program, ...args], {
    stdio: [input === undefined ? "ignore" : new TextEncoder().encode(input), "pipe", "pipe", ...descriptors],
    env: { PATH: process.env["PATH"], LC_ALL: "C" },
    // A process group of its own: ctrl-C is for us, who then undo, and must not cut a header in half.
    detached: true,
    signal: signal ? AbortSignal.any([signal, limit]) : limit,
    killSignal: "SIGKILL",
    maxBuffer: MAX_OUTPUT,
  });
  const [output, said, status] = await Promise.all([text(child.stdout), text(child.stderr), child.exited]);
  if (limit.aborted) {
    throw new LatchkeyError("luks/tool-failed", `cryptsetup ${args[0]} did not end within ${LIMIT / 1000} s`);
  }
  if (signal?.aborted) throw new LatchkeyError("enroll/interrupted", `cryptsetup ${args[0]} was stopped`);
  return { status, output, complaint: oneLine(said.trim().split("\n").at(-1) ?? "").slice(0, MAX_COMPLAINT) };
};

async function text(stream: ReadableStream<Uint8Array>): Promise<string> {
  return await new Response(stream).text();
}

/** A secret in a file that is in memory only, to be read by a child; overwritten when it is over. */
class SecretFile implements Disposable {
  readonly descriptor: number;
  readonly #length: number;

  constructor(secret: SecretBytes) {
    this.#length = secret.length;
    this.descriptor = libc().memfd_create(ptr(cString("latchkey")), MFD_CLOEXEC);
    if (this.descriptor < 0) {
      const reason = errnoName(lastErrno());
      throw new LatchkeyError("system/no-memory", `there is no memory to hand cryptsetup a key (${reason})`);
    }
    this.#write(secret.bytes);
  }

  [Symbol.dispose](): void {
    this.#write(new Uint8Array(this.#length));
    closeSync(this.descriptor);
  }

  #write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) at += writeSync(this.descriptor, bytes, at, bytes.length - at, at);
  }
}
