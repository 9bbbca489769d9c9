/** The real ssh client, from the host into a guest over user networking. */
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cached } from "./cache.ts";
import { dyingWithUs, run } from "./command.ts";
import type { Guest } from "./guest/chroot.ts";
import { runInside } from "./guest/inside.ts";
import type { Machine } from "./machine.ts";
import { seconds, within } from "./patience.ts";

/** What the guest's address is by QEMU's DHCP server, and where ssh listens there. */
export const GUEST_ADDRESS = "10.0.2.15";
export const SSH_PORT = 22;

export interface SshKeys {
  /** The client's key that may log in, and one that may not. */
  readonly client: string;
  readonly stranger: string;
  readonly clientPublic: string;
  /** The host key, in the formats of both servers, as /etc/latchkey/ssh has it. */
  readonly hostOpenssh: Uint8Array;
  readonly hostDropbear: Uint8Array;
  readonly hostPublic: string;
  readonly hostFingerprint: string;
}

/** Made once and cached: initrds that hold them are found again. */
export async function sshKeys(guest: Guest): Promise<SshKeys> {
  const directory = await cached({
    kind: "images",
    name: "ssh-keys",
    inputs: { RECIPE: 1 },
    keep: 1,
    within: seconds(60),
    build: async (unfinished) => {
      for (const name of ["client", "stranger", "host"]) {
        const file = join(unfinished, name);
        await run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", `latchkey-vm ${name}`, "-f", file], {
          purpose: "making keys",
          within: seconds(30),
        });
      }
      const convert = "dropbearconvert openssh dropbear /mnt/host /mnt/host.dropbear && chmod 644 /mnt/host.dropbear";
      await runInside(guest, convert, {
        purpose: "converting a host key",
        within: seconds(30),
        exchange: unfinished,
      });
    },
  });
  const read = (name: string): string => readFileSync(join(directory, name), "utf8").trim();
  const listed = await run(["ssh-keygen", "-l", "-f", join(directory, "host.pub")], {
    purpose: "a fingerprint",
    within: seconds(30),
  });
  return {
    client: join(directory, "client"),
    stranger: join(directory, "stranger"),
    clientPublic: read("client.pub"),
    hostOpenssh: readFileSync(join(directory, "host")),
    hostDropbear: readFileSync(join(directory, "host.dropbear")),
    hostPublic: read("host.pub"),
    hostFingerprint: listed.split(" ")[1] ?? "",
  };
}

/** The key with which a server presents itself, and its fingerprint, as somebody sees who has never been there. */
export async function scannedHostKey(port: number): Promise<Pick<SshKeys, "hostPublic" | "hostFingerprint">> {
  const options = { purpose: "asking for a host key", within: seconds(60) };
  const scanned = await run(["ssh-keyscan", "-t", "ed25519", "-T", "30", "-p", `${port}`, "127.0.0.1"], options);
  const listed = await run(["ssh-keygen", "-l", "-f", "-"], { ...options, input: scanned });
  const [, type, data] = scanned.trim().split(" ");
  return { hostPublic: `${type} ${data}`, hostFingerprint: listed.split(" ")[1] ?? "" };
}

export interface SshOutcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface SshOptions {
  /** A file with a private key; otherwise the one that may log in. */
  readonly identity?: string;
  /** Options of ssh(1), before the host. */
  readonly options?: readonly string[];
  /** What the client asks to be run. */
  readonly command?: readonly string[];
  /** Written to standard input, which then ends. */
  readonly input?: string;
}

/** A client of one machine, which knows its host key: another one ends every connection. */
export class SshClient implements Disposable {
  readonly #machine: Machine;
  readonly #folder = mkdtempSync(join(tmpdir(), "latchkey-ssh-"));
  readonly #open: Disposable[] = [];

  constructor(machine: Machine, keys: SshKeys) {
    this.#machine = machine;
    const [type, data] = keys.hostPublic.split(" ");
    writeFileSync(join(this.#folder, "known"), `[127.0.0.1]:${machine.forwarded(SSH_PORT)} ${type} ${data}\n`);
    // ssh refuses a private key that others may read; the cache's mode depends on who made it.
    for (const name of ["client", "stranger"] as const) {
      copyFileSync(keys[name], join(this.#folder, name));
      Bun.spawnSync(["chmod", "600", join(this.#folder, name)]);
    }
  }

  get port(): number {
    return this.#machine.forwarded(SSH_PORT);
  }

  /** ssh(1) with nothing of the host's own settings. */
  argv({ identity = "client", options = [], command = [] }: SshOptions = {}): string[] {
    return [
      ...["ssh", "-F", "none", "-i", join(this.#folder, identity), "-p", `${this.port}`],
      ...["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"],
      ...["-o", `UserKnownHostsFile=${join(this.#folder, "known")}`, "-o", "GlobalKnownHostsFile=none"],
      ...["-o", `ConnectTimeout=${seconds(30) / 1000}`, "-o", "LogLevel=INFO", ...options],
      ...["root@127.0.0.1", ...command],
    ];
  }

  /** Runs a client to its end. */
  async run(options: SshOptions = {}, limit = seconds(90)): Promise<SshOutcome> {
    await using child = Bun.spawn([...dyingWithUs(this.argv(options))], {
      stdin: new TextEncoder().encode(options.input ?? ""),
      stdout: "pipe",
      stderr: "pipe",
    });
    const all = Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    const [stdout, stderr, status] = await within(limit, `${this.#machine.name}: ${this.argv(options).join(" ")}`, all);
    return { status, stdout, stderr };
  }

  /** Waits until the server answers with its name; that is no login. */
  async isUp(limit = seconds(90)): Promise<void> {
    const end = performance.now() + limit;
    while (performance.now() < end) {
      if (await saysItsName(this.port)) return;
      await Bun.sleep(250);
    }
    throw new Error(`${this.#machine.name}: no SSH server within ${limit / 1000} s`);
  }

  /** A person's session: a terminal on the other side. */
  session(): SshSession {
    const session = new SshSession(this.argv({ options: ["-tt"] }), this.#machine.name);
    this.#open.push(session);
    return session;
  }

  [Symbol.dispose](): void {
    for (const session of this.#open) session[Symbol.dispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** One client with a terminal, of which the test is the person. */
export class SshSession implements Disposable {
  readonly #child: Bun.Subprocess<"pipe", "pipe", "pipe">;
  readonly #name: string;
  #seen = "";
  #errors = "";

  constructor(argv: readonly string[], name: string) {
    this.#name = name;
    this.#child = Bun.spawn([...dyingWithUs(argv)], { stdin: "pipe", stdout: "pipe", stderr: "pipe" });
    void this.#read(this.#child.stdout, (text) => {
      this.#seen += text;
    });
    void this.#read(this.#child.stderr, (text) => {
      this.#errors += text;
    });
  }

  get seen(): string {
    return this.#seen.replaceAll("\r", "");
  }

  async #read(stream: ReadableStream<Uint8Array>, add: (text: string) => void): Promise<void> {
    const decoder = new TextDecoder();
    for await (const bytes of stream) add(decoder.decode(bytes, { stream: true }));
  }

  /** Waits until the session shows this, so many times in all. */
  async shows(pattern: RegExp, limit = seconds(90)): Promise<void> {
    const end = performance.now() + limit;
    while (!pattern.test(this.seen)) {
      if (performance.now() > end || this.#child.exitCode !== null) {
        throw new Error(`${this.#name}: the session never showed ${pattern}:\n${this.seen}\n${this.#errors}`);
      }
      await Bun.sleep(50);
    }
  }

  async types(text: string): Promise<void> {
    await Bun.sleep(300); // what was typed before a question is thrown away
    this.#child.stdin.write(`${text}\n`);
    await this.#child.stdin.flush();
  }

  /** Half a line, without Enter. */
  async begins(text: string): Promise<void> {
    await Bun.sleep(300);
    this.#child.stdin.write(text);
    await this.#child.stdin.flush();
  }

  /** The exit status by which the client passes on that of `latchkey answer`. */
  async ended(limit = seconds(60)): Promise<number> {
    return await within(limit, `${this.#name}: end of a session:\n${this.seen}`, this.#child.exited);
  }

  /** As if the person's machine had lost power. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  [Symbol.dispose](): void {
    this.kill();
  }
}

/** RFC 4253, section 4.2: a server begins with "SSH-". QEMU accepts before the guest listens, and hangs up then. */
function saysItsName(port: number): Promise<boolean> {
  const heard = Promise.withResolvers<boolean>();
  const limit = setTimeout(() => heard.resolve(false), 5000);
  const connecting = Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      data: (socket, bytes) => {
        heard.resolve(bytes.toString("latin1").startsWith("SSH-"));
        socket.end();
      },
      close: () => heard.resolve(false),
      error: () => heard.resolve(false),
    },
  });
  connecting.catch(() => heard.resolve(false));
  return heard.promise.finally(() => clearTimeout(limit));
}

/** TCP connections that say nothing. */
export async function silentConnections(port: number, count: number): Promise<Disposable> {
  const sockets: { end(): void; terminate?(): void }[] = [];
  for (let made = 0; made < count; made += 1) {
    sockets.push(
      await Bun.connect({ hostname: "127.0.0.1", port, socket: { data: () => undefined, error: () => undefined } }),
    );
  }
  return {
    [Symbol.dispose]: () => {
      for (const socket of sockets) socket.terminate?.();
    },
  };
}

export const sshIsThere = existsSync("/usr/bin/ssh");
