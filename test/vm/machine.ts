import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { cacheDirectory } from "./cache.ts";
import { dyingWithUs } from "./command.ts";
import { Console, type ExpectOptions, type Seen } from "./console.ts";
import { noteEmulatorFault } from "./emulator-fault.ts";
import type { Guest } from "./guest/chroot.ts";
import { appendOverlays } from "./initrd.ts";
import { seconds, within } from "./patience.ts";
import {
  defaultMemoryMegabytes,
  deviceAt,
  type HardwareOptions,
  MAX_MEMORY_MEGABYTES,
  qemuArguments,
} from "./qemu-arguments.ts";
import { Qmp } from "./qmp.ts";
import { type RealRoot, readRealRoot } from "./real-root.ts";
import { rootSays } from "./root-tree.ts";
import { type RunDirectory, runDirectory } from "./run-directory.ts";
import { guestSlot } from "./schedule.ts";
import { startTpm, type TpmOptions } from "./swtpm.ts";

export interface MachineOptions extends HardwareOptions {
  /** Names the transcript: `.cache/transcripts/NAME.log`. */
  readonly name: string;
  readonly guest: Guest;
  readonly initrd: string;
  /** Files that only this machine has in its initrd; see `overlay` and fault.ts. */
  readonly overlays?: readonly Uint8Array[];
  readonly tpm?: TpmOptions;
  /** Guest TCP ports to be reached from the host; a machine without any has no network card. */
  readonly guestPorts?: readonly number[];
  /** Milliseconds after which the machine is killed whatever a test does. */
  readonly lifetime?: number;
  /** Gets the console's bytes as they come, colours and all: `process.stdout` for a demonstration. */
  readonly mirror?: { write(bytes: Uint8Array): unknown };
}

/** QEMU ended its work: by whose wish, in QEMU's words (guest-shutdown, guest-reset, guest-panic, host-qmp-system-reset…). */
export type PowerOff = string;

/**
 * getpass(3), systemd and bcachefs print their prompt first and then throw away what was typed ahead (TCSAFLUSH): typed
 * without a pause, only the end of a passphrase arrives.
 */
const FLUSH_PAUSE_MS = 1000;

/** The serial line and QMP are two channels: after a power-off the last console bytes may still be under way. */
const DRAIN_MS = 300;

/** Kernel clock ticks in /proc/PID/stat; fixed at 100 for user space on Linux. */
const TICKS_PER_SECOND = 100;

type Qemu = Subprocess<"pipe", "pipe", "pipe">;

interface Parts {
  readonly options: MachineOptions;
  readonly console: Console;
  readonly qemu: Qemu;
  readonly qmp: Qmp;
  readonly directory: RunDirectory;
  readonly forwards: ReadonlyMap<number, number>;
  readonly proof: string;
  readonly scope: DisposableStack;
}

/** A virtual machine with a serial console. It is killed at the end of its scope, and by the kernel if this process dies. */
export class Machine implements AsyncDisposable {
  readonly #parts: Parts;
  #off = Promise.withResolvers<PowerOff>();

  private constructor(parts: Parts) {
    this.#parts = parts;
    parts.scope.use(
      parts.qmp.on(({ event, data }) => {
        if (event === "SHUTDOWN") this.#powerOff(String(data["reason"] ?? "unknown reason"));
      }),
    );
  }

  /** Waits for its turn (see schedule.ts) and starts QEMU. The clock of the console begins then. */
  static async start(options: MachineOptions): Promise<Machine> {
    const memory = options.memoryMegabytes ?? defaultMemoryMegabytes;
    if (memory > MAX_MEMORY_MEGABYTES) throw new Error(`a machine has at most ${MAX_MEMORY_MEGABYTES} MB`);
    using scope = new DisposableStack();
    scope.use(await guestSlot(memory));
    const directory = scope.use(runDirectory());
    const initrd = options.overlays?.length
      ? await appendOverlays(options.initrd, options.overlays, join(directory.files, "initrd.img"))
      : options.initrd;
    const forwards = new Map<number, number>();
    for (const port of options.guestPorts ?? []) forwards.set(port, await freePort());
    const sockets = {
      qmp: join(directory.sockets, "qmp.sock"),
      ...(options.tpm ? { tpm: await startTpm(options.tpm, directory.files, directory.sockets) } : {}),
      ...(options.guestPorts ? { forwards } : {}),
    };
    const proof = crypto.randomUUID();
    const commandLine = [...(options.commandLine ?? []), `vm.proof=${proof}`];
    const argv = qemuArguments({ ...options, commandLine }, options.guest.kernel, initrd, sockets);
    const console = new Console();
    const qemu: Qemu = Bun.spawn([...dyingWithUs(argv)], { stdin: "pipe", stdout: "pipe", stderr: "pipe" });
    scope.defer(() => qemu.kill("SIGKILL"));
    scope.defer(() => keepTranscript(options.name, argv, console));
    scope.defer(() => noteEmulatorFault(options.name, console.text));
    const lifetime = setTimeout(() => qemu.kill("SIGKILL"), options.lifetime ?? seconds(600));
    scope.defer(() => clearTimeout(lifetime));
    const ended = Promise.all([qemu.exited, qemu.stderr.text()]).then(
      ([status, said]) => `QEMU ended with status ${status}: ${said.trim()}`,
    );
    void pump(qemu, console, ended, options.mirror);
    const qmp = scope.use(await Qmp.connect(sockets.qmp, ended));
    return new Machine({ options, console, qemu, qmp, directory, forwards, proof, scope: scope.move() });
  }

  get name(): string {
    return this.#parts.options.name;
  }

  /** Random words on this machine's kernel command line, so in its memory as long as it runs. */
  get proof(): string {
    return this.#parts.proof;
  }

  get console(): Console {
    return this.#parts.console;
  }

  get qmp(): Qmp {
    return this.#parts.qmp;
  }

  /** The host's port, on 127.0.0.1, that leads to a port of the guest. */
  forwarded(guestPort: number): number {
    const port = this.#parts.forwards.get(guestPort);
    if (port === undefined) throw new Error(`port ${guestPort} of ${this.name} is not in its guestPorts`);
    return port;
  }

  /** Waits for a text on the console after the last one that was expected. */
  expect(pattern: string | RegExp, options: ExpectOptions = {}): Promise<Seen> {
    return this.console.expect(pattern, options);
  }

  /** Types as a person at a prompt does: not before the prompt has thrown away what was typed ahead. */
  async type(text: string, pause = FLUSH_PAUSE_MS): Promise<void> {
    await Bun.sleep(pause);
    this.#parts.qemu.stdin.write(text);
    await this.#parts.qemu.stdin.flush();
  }

  /** Types a line and the Enter key. */
  sendLine(line: string, pause = FLUSH_PAUSE_MS): Promise<void> {
    return this.type(`${line}\n`, pause);
  }

  /** Waits for the real root and gives what it says about itself, latchkey's report included. */
  realRoot(limit?: number): Promise<RealRoot> {
    return readRealRoot(this.console, limit);
  }

  /** Runs a command in the real root's shell (`atRoot: "shell"`) and gives its output; throws unless its status is 0. */
  async shell(command: string, limit = seconds(60)): Promise<string> {
    if (!this.console.text.includes(rootSays.shell)) await this.expect(rootSays.shell, { within: limit });
    await this.sendLine(`stty -echo; echo "vm: be""gin"; ${command}; echo "vm: status $?"`, 200);
    await this.expect("vm: begin\n", { within: limit });
    const { match } = await this.expect(/([\s\S]*?)vm: status (\d+)\n/, { within: limit });
    if (match[2] !== "0") throw new Error(`${this.name}: ${command}: status ${match[2]}: ${match[1]}`);
    return match[1] ?? "";
  }

  /** Puts in a disk that was declared `isLate`. */
  async plug(serial: string): Promise<void> {
    const disk = this.#parts.options.disks.find((one) => one.serial === serial && one.isLate);
    if (!disk) throw new Error(`${this.name} has no late disk ${serial}`);
    await this.qmp.execute("device_add", deviceAt(disk));
  }

  /** Pulls a disk out, as far as the guest agrees. */
  async unplug(serial: string): Promise<void> {
    await this.qmp.execute("device_del", { id: serial });
  }

  /** Waits until the guest powers off, restarts or panics; its memory stays as it was then. */
  off(limit = seconds(120)): Promise<PowerOff> {
    return within(limit, `${this.name}: power-off`, this.#off.promise);
  }

  /** The reset button; also starts a machine again that has powered off. Returns when the console shows life. */
  async reset(): Promise<void> {
    this.#off = Promise.withResolvers<PowerOff>();
    this.console.skip();
    this.console.resume();
    await this.qmp.execute("set-action", { reboot: "reset" });
    await this.qmp.execute("system_reset");
    await this.qmp.execute("cont");
    // Not before: the firmware, finding that it has run already, resets the machine once more by itself.
    await this.expect(/(?=[\s\S])/);
    await this.qmp.execute("set-action", { reboot: "shutdown" });
  }

  /** Stops the guest and saves all of its memory; the file goes with the machine. */
  async saveMemory(): Promise<string> {
    const file = join(this.#parts.directory.files, "memory");
    const size = (this.#parts.options.memoryMegabytes ?? defaultMemoryMegabytes) * 1024 * 1024;
    await this.qmp.execute("stop");
    await this.qmp.execute("pmemsave", { val: 0, size, filename: file }, seconds(120));
    return file;
  }

  /** Processor time that QEMU has taken so far. */
  cpuSeconds(): number {
    const fields = readFileSync(`/proc/${this.#parts.qemu.pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#parts.qemu.kill("SIGKILL");
    await within(seconds(20), `${this.name}: end of QEMU`, this.#parts.qemu.exited);
    this.#parts.scope.dispose();
  }

  #powerOff(reason: PowerOff): void {
    setTimeout(() => {
      this.console.end(`the machine is off (${reason})`);
      this.#off.resolve(reason);
    }, DRAIN_MS);
  }
}

type Mirror = MachineOptions["mirror"];

async function pump(qemu: Qemu, console: Console, ended: Promise<string>, mirror: Mirror): Promise<void> {
  for await (const bytes of qemu.stdout) {
    console.feed(bytes);
    mirror?.write(bytes);
  }
  console.end(await ended);
}

/** Every run leaves its console, so that a failed one can be read afterwards; the command stands above it. */
function keepTranscript(name: string, argv: readonly string[], console: Console): void {
  const directory = join(cacheDirectory, "transcripts");
  mkdirSync(directory, { recursive: true });
  const command = argv.map((word) => (/^[\w./:=,+-]+$/.test(word) ? word : `'${word}'`)).join(" ");
  writeFileSync(join(directory, `${name.replace(/[^\w.-]+/g, "-")}.log`), `${command}\n\n${console.transcript()}\n`);
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}
