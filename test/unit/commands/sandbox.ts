import { chmodSync, existsSync, linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { kernelKeyring } from "../../../src/keyutils-ffi/keyring.ts";
import type { Pty } from "../sources/prompt/pty.ts";
import { type DamagedCase, type FixtureDevice, manifest } from "../providers/bcachefs/fixtures.ts";
import { unpackImage } from "./images.ts";

const root = join(import.meta.dir, "../../..");

/** What outputs call the folder with a test's images and files. */
const SHOWN_FOLDER = "/disks";
/** A person who waits this long has given up. */
const LIMIT = 120_000;

/**
 * The machine as the command sees it: no disks, nothing configured but what the test says, no journal of an earlier boot, no
 * console. $0 is the folder with the test's files.
 */
const enterMachine = `set -e
mount -t tmpfs latchkey-test /etc
cp -R "$0/machine/etc/." /etc/
mount -t tmpfs latchkey-test /run
mount -t tmpfs latchkey-test /sys/class/block
mount --bind "$0/machine/proc/cmdline" /proc/cmdline
[ ! -e /dev/console ] || mount --bind /dev/null /dev/console
cd "$0/disks"
exec "$@"`;

/** util-linux's setpriv, as the user who owns nothing. */
const asNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

export interface RunOptions {
  /** A file of the test's folder as standard input; otherwise there is none. */
  readonly stdin?: string | undefined;
  /** The terminal that controls the command; otherwise none does. */
  readonly terminal?: Pty | undefined;
  readonly asNobody?: boolean;
}

export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number;
  /** Bytes. Not from getrusage(2): that counts the process which started it, too. */
  readonly peakMemory: number;
}

/** Runs `latchkey` from its sources, in a mount namespace of its own. */
export class Sandbox implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), "latchkey-command-"));
  readonly #devices: FixtureDevice[] = [];
  #runs = 0;

  constructor() {
    chmodSync(this.#folder, 0o711);
    for (const name of ["disks", "machine/etc", "machine/proc"]) mkdirSync(join(this.#folder, name), { recursive: true });
    writeFileSync(join(this.#folder, "machine/proc/cmdline"), "");
  }

  /** An image of the fixtures, whole or damaged. */
  image(fixture: FixtureDevice | DamagedCase, name: string): void {
    linkSync(unpackImage("image" in fixture ? fixture.image : fixture.file), this.path(name));
    if ("image" in fixture) this.#devices.push(fixture);
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
    const memoryFile = join(this.#folder, `memory-${this.#runs++}`);
    writeFileSync(memoryFile, "");
    chmodSync(memoryFile, 0o666);
    const command = [
      ...["unshare", "--mount", "sh", "-c", enterMachine, this.#folder],
      ...["setsid", "--wait", ...(terminal ? ["--ctty"] : [])],
      ...(options.asNobody === true ? asNobody : []),
      ...[process.execPath, "--preload", join(import.meta.dir, "note-memory.ts"), join(root, "src/main.ts"), ...argv],
    ];
    await using child = Bun.spawn(command, {
      stdin: terminal ? Bun.file(terminal.path) : stdin === undefined ? "ignore" : Bun.file(this.path(stdin)),
      stdout: "pipe",
      stderr: "pipe",
      env: { PATH: process.env["PATH"], LATCHKEY_TEST_MEMORY: memoryFile },
      signal: AbortSignal.timeout(LIMIT),
    });
    const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    const peakMemory = 1024 * Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(memoryFile, "utf8"))?.[1]);
    return { stdout: this.shown(stdout), stderr: this.shown(stderr), status, peakMemory };
  }

  /** The text with a name for the test's folder that is the same in every run. */
  shown(text: string): string {
    return text.replaceAll(join(this.#folder, "disks"), SHOWN_FOLDER);
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function reasonAgainstSandbox(): string | undefined {
  if (process.getuid?.() !== 0) return "it takes root to make a mount namespace";
  using sandbox = new Sandbox();
  const folder = dirname(sandbox.path(""));
  const tried = Bun.spawnSync(["unshare", "--mount", "sh", "-c", enterMachine, folder, "true"]);
  return tried.success ? undefined : `no mount namespace: ${tried.stderr.toString().trim().split("\n").at(-1)}`;
}

function reasonAgainstKeyring(): string | undefined {
  const description = `latchkey-test:${process.pid}`;
  try {
    using secret = SecretBytes.take(new Uint8Array([1]));
    kernelKeyring.unlink(kernelKeyring.addKey("user", description, secret, "user"), "user");
    return undefined;
  } catch (thrown) {
    return `the kernel refuses keys: ${thrown instanceof Error ? thrown.message : thrown}`;
  }
}
