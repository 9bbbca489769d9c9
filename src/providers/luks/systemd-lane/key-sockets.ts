import { join } from "node:path";
import { atExit } from "../../../system/ask-password/at-exit.ts";
import type { Clock } from "../../../system/clock.ts";
import { asLatchkeyError } from "../../../system/errors.ts";
import { type StreamConnection, StreamListener } from "../../../system/unix-stream.ts";
import { KEY_FOLDER, makeKeyFolder } from "./key-folder.ts";
import { judgePeer } from "./request.ts";

/**
 * Milliseconds between two looks at who has connected. Why a timer: src/system/ask-password/readiness.ts. A look is one
 * system call for each volume and each who waits.
 */
const LOOK_EVERY = 20;

const ROOT = 0;

export interface KeySocketsOptions {
  /** The volumes to listen for, by the names of their mappings. */
  readonly volumes: readonly string[];
  readonly clock: Clock;
  /** One line on what happens. `problem`: worth a person's attention; otherwise of use in the report. */
  readonly note: (kind: "event" | "problem", text: string, volume: string) => void;
  readonly folder?: string;
}

/**
 * The sockets at which systemd-cryptsetup asks for keys, one for each volume. While a connection is open,
 * systemd-cryptsetup shows no question of its own; it gets the key, or an end of file, after which it asks as always. A
 * connection without key costs it one of its `tries=`.
 */
export class KeySockets implements Disposable {
  readonly #doors: ReadonlyMap<string, Door>;
  readonly #clock: Clock;
  readonly #scope: DisposableStack;

  private constructor(doors: ReadonlyMap<string, Door>, clock: Clock, scope: DisposableStack) {
    this.#doors = doors;
    this.#clock = clock;
    this.#scope = scope;
  }

  /** Listens for as many of the volumes as it can; what it cannot do is noted, and systemd asks for that volume itself. */
  static listen({ volumes, clock, note, folder = KEY_FOLDER }: KeySocketsOptions): KeySockets {
    using scope = new DisposableStack();
    const doors = new Map<string, Door>();
    for (const volume of new Set(volumes)) {
      try {
        makeKeyFolder(folder);
        const door = new Door(volume, join(folder, `${volume}.key`), (kind, text) => note(kind, text, volume));
        doors.set(volume, scope.use(door));
        scope.use(atExit(() => door[Symbol.dispose]()));
      } catch (thrown) {
        const { message } = asLatchkeyError(thrown);
        note("problem", `systemd-cryptsetup asks for its passphrase itself: ${message}`, volume);
      }
    }
    const timer = setInterval(() => {
      for (const door of doors.values()) door.look();
    }, LOOK_EVERY);
    timer.unref();
    scope.defer(() => clearInterval(timer));
    return new KeySockets(doors, clock, scope.move());
  }

  /** Where it listens. */
  get paths(): readonly string[] {
    return [...this.#doors.values()].map((door) => door.path);
  }

  /** Is this volume's key asked for here? */
  servesVolume(volume: string): boolean {
    return this.#doors.get(volume)?.isOpen ?? false;
  }

  /**
   * The connection that waits for the volume's key now, or the next one that comes. The caller answers and closes it.
   * @param limit milliseconds
   * @returns undefined when none came in time, or the signal was aborted
   */
  async takeAsker(volume: string, limit: number, signal: AbortSignal): Promise<StreamConnection | undefined> {
    const end = this.#clock.now() + limit;
    for (;;) {
      const door = this.#doors.get(volume);
      door?.look();
      const asker = door?.takeAsker();
      const left = end - this.#clock.now();
      if (asker || !door?.isOpen || left <= 0 || signal.aborted) return asker;
      await this.#clock.sleep(Math.min(LOOK_EVERY, left), signal);
    }
  }

  /** Listens for this volume no longer: systemd-cryptsetup asks for it from now on, and whoever waits here is told. */
  release(volume: string): void {
    this.#doors.get(volume)?.[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.#scope.dispose();
  }
}

/** One volume's socket, and who waits at it. */
class Door implements Disposable {
  readonly #volume: string;
  readonly #note: (kind: "event" | "problem", text: string) => void;
  readonly #listener: StreamListener;
  readonly #trusted: ReadonlySet<number>;
  #askers: StreamConnection[] = [];
  #isOpen = true;

  constructor(volume: string, path: string, note: (kind: "event" | "problem", text: string) => void) {
    this.#volume = volume;
    this.#note = note;
    this.#trusted = new Set([ROOT, process.geteuid?.() ?? ROOT]); // who runs as ourselves could do all that we can; tests do
    this.#listener = StreamListener.bind(path);
  }

  get path(): string {
    return this.#listener.path;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Lets in whoever knocks and forgets who has left. */
  look(): void {
    if (!this.#isOpen) return;
    for (let asker = this.#accept(); asker; asker = this.#accept()) this.#receive(asker);
    this.#askers = this.#askers.filter((asker) => {
      if (!asker.isHungUp) return true;
      asker[Symbol.dispose]();
      this.#note("event", "systemd-cryptsetup no longer waits for its key");
      return false;
    });
  }

  /** The latest: there is more than one only when systemd-cryptsetup was started again. */
  takeAsker(): StreamConnection | undefined {
    return this.#askers.pop();
  }

  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#listener[Symbol.dispose]();
    for (const asker of this.#askers) asker[Symbol.dispose]();
    this.#askers = [];
  }

  #accept(): StreamConnection | undefined {
    try {
      return this.#listener.accept();
    } catch (thrown) {
      this.#note("problem", asLatchkeyError(thrown).message);
      return undefined;
    }
  }

  #receive(asker: StreamConnection): void {
    const request = judgePeer(asker.peer, this.#volume, this.#trusted);
    if (request.wants === "key") {
      this.#askers.push(asker);
      this.#note("event", "systemd-cryptsetup waits for its key");
      return;
    }
    asker[Symbol.dispose]();
    if (request.wants === "token")
      this.#note("event", "systemd-cryptsetup was sent on to the token in the LUKS2 header");
    else this.#note("problem", `a connection to ${this.path} was turned away: ${request.why}`);
  }
}
