import { scrubSocketBuffers } from "../../system/ask-password/scrub.ts";
import type { Clock } from "../../system/clock.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import { type Finished, finishedFrame, type State, stateFrame, type Verdict, verdictFrame } from "./messages.ts";
import { type Connection, Session } from "./session.ts";

/** One who knocks at the socket. */
export interface Caller extends Connection {
  readonly peer: { readonly pid: number; readonly uid: number };
}

export interface Listener extends Disposable {
  accept(): Caller | undefined;
}

export interface AgentParts {
  readonly listener: Listener;
  readonly clock: Clock;
  /** Users whose processes may answer: root. */
  readonly trusted: ReadonlySet<number>;
  state(): State;
  /** Tries an answer. Takes over the scope of the secret. Never throws. */
  answer(session: Session, secret: SecretBytes): Promise<Verdict>;
}

/**
 * Sessions at once. Each is a process of 40 MB in an initrd, so more would be no help to anybody. When one more comes, the one that
 * has been silent longest makes room: connections that send nothing never keep a person out.
 */
export const MOST_SESSIONS = 32;

/** Connections taken in one turn. */
const CALLS_AT_ONCE = 16;

/**
 * Milliseconds between two looks at the connections, and at the door while there are none. Bun's event loop watches no foreign
 * descriptors (src/system/ask-password/readiness.ts), and a look costs microseconds.
 */
const LOOK_EVERY = 20;
const LOOK_AT_DOOR_EVERY = 100;

/** Milliseconds after which sessions hear of what has changed elsewhere. */
const TELL_EVERY = 500;

/** Milliseconds that sessions have to hear the end and to go. */
const FAREWELL = 1000;

/** The agent's end of /run/latchkey/agent.sock: takes answers, tells every session how things stand. */
export class Agent implements Disposable {
  readonly #parts: AgentParts;
  readonly #sessions = new Set<Session>();
  readonly #stop = new AbortController();
  #told = "";
  #nextTelling = 0;

  constructor(parts: AgentParts) {
    this.#parts = parts;
    void this.#run();
  }

  /** Resolves when nobody is connected. */
  async empty(): Promise<void> {
    while (this.#sessions.size > 0 && !this.#stop.signal.aborted) {
      await this.#parts.clock.sleep(LOOK_AT_DOOR_EVERY, this.#stop.signal);
    }
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  /** Tells every session that all is over, and gives them a moment to go by themselves. */
  async finish(finished: Finished): Promise<void> {
    const frame = finishedFrame(finished);
    for (const session of this.#sessions) {
      if (session.hello) session.send(frame);
      else this.#end(session);
    }
    const end = this.#parts.clock.now() + FAREWELL;
    while (this.#sessions.size > 0 && this.#parts.clock.now() < end) {
      await this.#parts.clock.sleep(LOOK_EVERY, this.#stop.signal);
    }
    this[Symbol.dispose]();
  }

  /** Tells of a change at once, not at the next look. */
  changed(): void {
    this.#nextTelling = 0;
  }

  async #run(): Promise<void> {
    const { clock } = this.#parts;
    while (!this.#stop.signal.aborted) {
      attempt(() => this.#turn(clock.now()));
      await clock.sleep(this.#sessions.size === 0 ? LOOK_AT_DOOR_EVERY : LOOK_EVERY, this.#stop.signal);
    }
  }

  #turn(now: number): true {
    for (let taken = 0; taken < CALLS_AT_ONCE && this.#letIn(now); taken += 1);
    if (now >= this.#nextTelling && this.#sessions.size > 0) this.#tell(now);
    for (const session of this.#sessions) {
      // Whatever one client brings about must not end the boot of all.
      if (!attempt(() => session.turn(now))) this.#end(session);
    }
    return true;
  }

  #letIn(now: number): boolean {
    let caller: Caller | undefined;
    const worked = attempt(() => {
      caller = this.#parts.listener.accept();
      return true;
    });
    if (!caller) return !worked; // the kernel did not say who it was: the next one
    if (!this.#parts.trusted.has(caller.peer.uid) || !this.#makeRoom()) {
      caller[Symbol.dispose]();
      return true;
    }
    this.#sessions.add(
      new Session(caller, now, {
        hello: (session) => session.sendState(stateFrame(this.#parts.state())),
        answer: (session, secret) => void this.#answer(session, secret),
      }),
    );
    return true;
  }

  /** Those that have not greeted go first, then the one that nobody has used for longest; never one whose answer is under way. */
  #makeRoom(): boolean {
    if (this.#sessions.size < MOST_SESSIONS) return true;
    const [victim] = [...this.#sessions]
      .filter((session) => !session.isBusy)
      .sort((a, b) => Number(a.hello !== undefined) - Number(b.hello !== undefined) || a.lastActive - b.lastActive);
    if (!victim) return false;
    this.#end(victim);
    return true;
  }

  async #answer(session: Session, secret: SecretBytes): Promise<void> {
    session.isBusy = true;
    scrubSocketBuffers(secret.length);
    const verdict = await this.#parts.answer(session, secret);
    session.isBusy = false;
    // First how things stand now: the question that follows the verdict is not to name what has just been opened.
    if (!session.isClosed) session.send(stateFrame(this.#parts.state()));
    session.send(verdictFrame(verdict));
    this.changed();
  }

  #tell(now: number): void {
    this.#nextTelling = now + TELL_EVERY;
    const state = this.#parts.state();
    const told = JSON.stringify({ ...state, now: 0 });
    if (told === this.#told) return;
    this.#told = told;
    const frame = stateFrame(state);
    for (const session of this.#sessions) if (session.hello) session.sendState(frame);
  }

  #end(session: Session): void {
    this.#sessions.delete(session);
    session[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    for (const session of this.#sessions) this.#end(session);
    this.#parts.listener[Symbol.dispose]();
  }
}

function attempt(work: () => boolean): boolean {
  try {
    return work();
  } catch {
    return false;
  }
}
