import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { RemotePlan } from "../../../../src/config/plan.ts";
import { AgentClient } from "../../../../src/sources/remote/agent-client.ts";
import { Desk, type DeskParts } from "../../../../src/sources/remote/desk.ts";
import { RemoteSource } from "../../../../src/sources/remote/remote-source.ts";
import type { Failure, OfferResult, Progress, SourceContext, WantedVolume } from "../../../../src/sources/source.ts";
import { monotonicClock } from "../../../../src/system/clock.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { StreamConnection, StreamListener } from "../../../../src/system/unix-stream.ts";

export const secretOf = (text: string): SecretBytes => SecretBytes.take(new TextEncoder().encode(text));

/** Stands in for the heart: volumes with their passphrases, as the remote source sees them. */
export class RemoteHeart implements SourceContext {
  readonly #abort = new AbortController();
  readonly signal = this.#abort.signal;
  readonly notes: string[] = [];
  readonly offered: string[] = [];
  readonly failures: Failure[] = [];
  /** How many attempts ran at the same time at most. */
  atOnce = 0;
  /** Milliseconds that an attempt takes. */
  takes = 0;
  #running = 0;
  readonly #passphrases: Readonly<Record<string, string>>;
  readonly #open = new Set<string>();
  readonly #listeners: (() => void)[] = [];
  readonly #time = Promise.withResolvers<void>();
  readonly questionTime = this.#time.promise;

  constructor(passphrases: Readonly<Record<string, string>>) {
    this.#passphrases = passphrases;
  }

  askNow(): void {
    this.#time.resolve();
  }

  progress(): Progress {
    const volumes = Object.keys(this.#passphrases).map((name) => ({
      name,
      description: `disk of ${name}`,
      standing: this.#open.has(name) ? ("open" as const) : ("closed" as const),
      reason: undefined,
    }));
    return { volumes, failures: this.failures };
  }

  async wanted(): Promise<readonly WantedVolume[]> {
    return [];
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async offer(secret: SecretBytes): Promise<OfferResult> {
    using taken = secret;
    const text = new TextDecoder().decode(taken.bytes);
    this.offered.push(text);
    this.#running += 1;
    this.atOnce = Math.max(this.atOnce, this.#running);
    await Bun.sleep(this.takes);
    this.#running -= 1;
    const closed = Object.keys(this.#passphrases).filter((name) => !this.#open.has(name));
    const opened = closed.filter((name) => this.#passphrases[name] === text);
    for (const name of opened) this.opens(name);
    const wrong = (name: string) => new LatchkeyError("bcachefs/wrong-passphrase", `${name}: wrong passphrase`);
    const refused = closed.filter((name) => !this.#open.has(name));
    return { opened, errors: new Map(refused.map((name) => [name, wrong(name)])) };
  }

  /** By whatever means; the last one ends the race. */
  opens(name: string): void {
    this.#open.add(name);
    for (const listener of this.#listeners) listener();
    if (this.#open.size === Object.keys(this.#passphrases).length) this.abort();
  }

  nothingYet(): void {
    throw new Error("a question always has something to wait for");
  }
  atWork<T>(work: Promise<T>): Promise<T> {
    return work;
  }

  note(text: string): void {
    this.notes.push(text);
  }

  abort(): void {
    this.#abort.abort();
  }
}

export interface SceneOptions {
  readonly start?: RemotePlan["start"];
  readonly trusted?: ReadonlySet<number>;
  /** Why the network or the server did not come up. */
  readonly trouble?: string;
}

/** A remote source at a real socket, and sessions that come to it. */
export class Scene implements AsyncDisposable {
  readonly heart: RemoteHeart;
  readonly folder = mkdtempSync("/tmp/latchkey-remote-");
  readonly socket = join(this.folder, "agent.sock");
  readonly source: RemoteSource;
  readonly running: Promise<void>;
  readonly doors: string[] = [];
  /** What other programs ask. */
  foreign: ReturnType<DeskParts["foreignQuestions"]> = [];
  readonly foreignAnswers: string[] = [];
  isBootDone = false;
  /** Those whose questions were answered still work on it. */
  askersAreAlive = false;
  isRootMounted = false;
  readonly #open: Disposable[] = [];

  constructor(
    passphrases: Readonly<Record<string, string>>,
    { start = "always", trusted, trouble }: SceneOptions = {},
  ) {
    this.heart = new RemoteHeart(passphrases);
    this.source = new RemoteSource({
      volumes: Object.keys(passphrases),
      start,
      clock: monotonicClock,
      trusted: trusted ?? new Set([process.getuid?.() ?? 0]),
      host: "server1",
      listen: () => StreamListener.bind(this.socket),
      openDoor: async () => {
        this.doors.push("open");
        return trouble;
      },
      announce: async () => undefined,
    });
    this.running = this.source.run(this.heart);
  }

  connect(): StreamConnection {
    return this.#kept(StreamConnection.connect(this.socket));
  }

  client(from = "192.0.2.9"): AgentClient {
    return this.#kept(new AgentClient(StreamConnection.connect(this.socket), from));
  }

  desk(parts: Partial<DeskParts> = {}): Desk {
    return this.#kept(
      new Desk({
        clock: monotonicClock,
        from: "192.0.2.9",
        connect: () => StreamConnection.connect(this.socket),
        foreignQuestions: () => this.foreign,
        answerForeign: (question, secret) => {
          this.foreignAnswers.push(`${question.id} ${new TextDecoder().decode(secret.bytes)}`);
          this.foreign = this.foreign.filter((other) => other !== question);
          return true;
        },
        askpass: () => undefined,
        answerAskpass: () => false,
        isAlive: () => this.askersAreAlive,
        rootIsMounted: () => this.isRootMounted,
        bootIsDone: () => this.isBootDone,
        ...parts,
      }),
    );
  }

  #kept<T extends Disposable>(thing: T): T {
    this.#open.push(thing);
    return thing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const thing of this.#open) thing[Symbol.dispose]();
    this.heart.abort();
    await this.running.catch(() => undefined);
    rmSync(this.folder, { recursive: true });
  }
}

/** Turns the client until `look` finds something. */
export async function until<T>(client: { turn(): void }, look: () => T | undefined): Promise<T> {
  for (let tries = 0; tries < 1000; tries += 1) {
    client.turn();
    const found = look();
    if (found !== undefined) return found;
    await Bun.sleep(5);
  }
  throw new Error("it never happened");
}
