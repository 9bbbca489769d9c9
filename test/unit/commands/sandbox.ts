import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { kernelKeyring } from "../../../src/keyutils-ffi/keyring.ts";
import { SecretBytes } from "../../../src/system/secret-bytes.ts";
import { fixtureBytes } from "../providers/bcachefs/fixtures.ts";
import type { Pty } from "../sources/prompt/pty.ts";
import { OwnKeyrings } from "./own-keyrings.ts";

const root = join(import.meta.dir, "../../..");

/** Where a command under test finds the test's images and files, and works. */
export const DISKS = "/run/disks";
/** Milliseconds until a command that hangs is ended; far more than the slowest machine needs. */
const LIMIT = 120_000;

/**
 * The machine as the command sees it: no disks, nothing configured but what the test says, no report of a boot, no console.
 * $0 is the folder with the test's files.
 */
const enterMachine = `set -e
mount -t tmpfs latchkey-test /etc
cp -R "$0/machine/etc/." /etc/
mount -t tmpfs latchkey-test /run
mkdir ${DISKS}
mount --bind "$0/disks" ${DISKS}
mount -t tmpfs latchkey-test /sys/class/block
for name in cmdline filesystems swaps; do mount --bind "$0/machine/proc/$name" "/proc/$name"; done
[ ! -e /dev/console ] || mount --bind /dev/null /dev/console
cd ${DISKS}
exec "$@"`;

/** A user who owns nothing, by util-linux's setpriv. */
const toNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/** A reader of our own would read ahead. */
const throughSlowPipe = ["sh", "-c", '"$@" | { sleep 1; cat; }', "sh"];

export interface RunOptions {
  /** A file of the test's folder as standard input; otherwise it is empty. */
  readonly stdin?: string | undefined;
  /** The terminal that controls the command; otherwise none does. */
  readonly terminal?: Pty | undefined;
  readonly asNobody?: boolean;
  readonly environment?: Readonly<Record<string, string>>;
  /** What it prints goes into a pipe that nobody reads for a while; then the status is the reader's. */
  readonly isReadSlowly?: boolean;
}

export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number;
  /** Bytes. */
  readonly peakMemory: number;
}

/** Runs `latchkey` from its sources, in a mount namespace and with user keyrings of its own. */
export class Sandbox implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), "latchkey-command-"));
  readonly #keyrings = new OwnKeyrings();

  constructor() {
    chmodSync(this.#folder, 0o711);
    for (const name of ["disks", "machine/etc", "machine/proc"])
      mkdirSync(join(this.#folder, name), { recursive: true });
    this.file("/proc/cmdline", "");
    this.file("/proc/filesystems", "\tbcachefs\n"); // nothing has to be loaded into this kernel
    this.file("/proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
  }

  /** An image of the fixtures, unpacked and sparse. */
  image(fixture: string, name: string): void {
    const bytes = fixtureBytes(fixture);
    const zeros = new Uint8Array(64 * 1024);
    const file = openSync(this.path(name), "w");
    for (let offset = 0; offset < bytes.length; offset += zeros.length) {
      const chunk = bytes.subarray(offset, offset + zeros.length);
      if (Buffer.compare(chunk, zeros) !== 0) writeSync(file, chunk, 0, chunk.length, offset);
    }
    closeSync(file);
    truncateSync(this.path(name), bytes.length);
  }

  /** A file among the images, or, with an absolute path in /etc or /proc, one of the machine. */
  file(path: string, content: string): void {
    const target = path.startsWith("/") ? join(this.#folder, "machine", path) : this.path(path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, content);
  }

  path(name: string): string {
    return join(this.#folder, "disks", name);
  }

  async run(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    const { stdin, terminal } = options;
    const memory = join(this.#folder, "memory");
    writeFileSync(memory, "");
    chmodSync(memory, 0o666);
    await using child = Bun.spawn(
      [
        ...this.#enter,
        ...(options.isReadSlowly === true ? throughSlowPipe : []),
        ...["setsid", "--wait", ...(terminal ? ["--ctty"] : [])],
        ...(options.asNobody === true ? toNobody : []),
        ...[process.execPath, "--preload", join(import.meta.dir, "note-memory.ts"), join(root, "src/main.ts"), ...argv],
      ],
      {
        stdin: terminal ? Bun.file(terminal.path) : stdin === undefined ? "ignore" : Bun.file(this.path(stdin)),
        stdout: "pipe",
        stderr: "pipe",
        env: { PATH: process.env["PATH"], LATCHKEY_TEST_MEMORY: memory, ...options.environment },
        signal: AbortSignal.timeout(LIMIT),
      },
    );
    const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    const [, kilobytes] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(memory, "utf8")) ?? [];
    return { stdout, stderr, status, peakMemory: 1024 * Number(kilobytes) };
  }

  /** Why it does not work here, if it does not. */
  whyNot(): string | undefined {
    const tried = Bun.spawnSync([...this.#enter, "true"]);
    return tried.success ? undefined : `no mount namespace: ${tried.stderr.toString().trim()}`;
  }

  /** The key of a bcachefs that a command left in the user keyring, in hexadecimal digits. */
  keyLeft(uuid: string): string | undefined {
    return this.#keyrings.key(`bcachefs:${uuid}`);
  }

  get #enter(): readonly string[] {
    return [...this.#keyrings.enter, "unshare", "--mount", "sh", "-c", enterMachine, this.#folder];
  }

  [Symbol.dispose](): void {
    this.#keyrings[Symbol.dispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Why commands cannot be run in a sandbox here, if they cannot. */
export const whyNoSandbox = ((): string | undefined => {
  if (process.getuid?.() !== 0) return "it takes root to make a mount namespace";
  try {
    using sandbox = new Sandbox();
    return sandbox.whyNot();
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : "the kernel makes no user namespace";
  }
})();

/** Why no key can be added to a keyring here, if none can: container runtimes forbid it. */
export const whyNoKeys = ((): string | undefined => {
  const description = `latchkey-test:${process.pid}`;
  try {
    using secret = SecretBytes.take(new Uint8Array([1]));
    kernelKeyring.unlink(kernelKeyring.addKey("user", description, secret, "user"), "user");
    return undefined;
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : "the kernel refuses keys";
  }
})();
