import type { SourceKind } from "../config/plan.ts";
import type { LatchkeyError } from "../system/errors.ts";
import type { SecretBytes } from "../system/secret-bytes.ts";

/** A volume as a source sees it: enough to name it in a question. */
export interface WantedVolume {
  readonly name: string;
  readonly description: string;
}

/** What became of an offered credential. */
export interface OfferResult {
  readonly opened: readonly string[];
  /** One error per volume that did not open with it. */
  readonly errors: ReadonlyMap<string, LatchkeyError>;
}

/** How a volume stands, in the words that a person who asks from afar needs. */
export interface VolumeProgress {
  readonly name: string;
  readonly description: string | undefined;
  readonly standing: "waiting" | "closed" | "open" | "failed";
  /** Why it will not be opened any more. */
  readonly reason: string | undefined;
}

/** How far the members of a pool have got that are being tried now: deriving a key for each takes a while. */
export interface PoolProgress {
  readonly pool: string;
  /** Members that have accepted the credential so far. */
  readonly accepted: number;
  readonly of: number;
}

/** Something that was tried and did not open anything. */
export interface Failure {
  /** Milliseconds of CLOCK_MONOTONIC. */
  readonly at: number;
  readonly source: string;
  /** Undefined when the source had no credential to try. */
  readonly volume: string | undefined;
  readonly reason: string;
}

/** What has happened so far. Never a secret. */
export interface Progress {
  readonly volumes: readonly VolumeProgress[];
  /** Oldest first. */
  readonly failures: readonly Failure[];
  /** Pools whose members are being tried. */
  readonly pools?: readonly PoolProgress[];
}

export interface SourceContext {
  /** Aborted when the source is no longer wanted: another one won, or its limit has passed. Everything it started ends. */
  readonly signal: AbortSignal;
  /**
   * The volumes this source serves that are found and still closed, as of now. Waits until there is at least one; empty
   * when all that it serves is open or given up.
   */
  wanted(): Promise<readonly WantedVolume[]>;
  /** Calls back whenever the answer of wanted() may have changed; ends with the signal. */
  onChange(listener: () => void): void;
  /**
   * Tries a credential on the named volumes. Takes over the scope of the secret. Waits for named volumes that are not
   * found yet. When none are named: a question answers for those found and closed, an automatic source for all it serves.
   */
  offer(secret: SecretBytes, volumes?: readonly string[]): Promise<OfferResult>;
  /** Resolves when people are asked: the automatic sources have failed, or prompt_after has passed. Not when aborted before. */
  readonly questionTime: Promise<void>;
  /** All volumes and all that was tried, also by other sources, as of now. */
  progress(): Progress;
  /** The source has nothing now and says why, but goes on listening: the question need not wait for it any longer. */
  nothingYet(reason: LatchkeyError): void;
  /** For a source that listens: what it was waiting for is there, and the run does not end before this has an end. */
  atWork<T>(work: Promise<T>): Promise<T>;
  /** One line for the report. Never a secret. */
  note(text: string): void;
}

/** One way to a credential, made for the volumes it serves. */
export interface Source {
  readonly kind: SourceKind;
  /** What it is in messages: `prompt`, `usb stick 4F2A-99C1`. */
  readonly name: string;
  /** The volumes it may open. */
  readonly volumes: readonly string[];
  /** Asks a person: shown when the automatic ones have failed, or after prompt_after. */
  readonly isQuestion: boolean;
  /** A question that is there from the start and waits for its time by itself (`SourceContext.questionTime`). */
  readonly runsFromStart?: boolean;
  /**
   * For a question that is there from the start, called when all others have ended: resolves when nobody is about to answer it, so that the
   * system's own way in may follow. `isDeclined`: a person did not want to be asked any more; otherwise there was no way to ask.
   */
  deserted?(isDeclined: boolean): Promise<void>;
  /**
   * After `nothingYet` it waits for what may never come (a stick): it may still win, and the run does not wait for it alone, so that the
   * system's own way in follows when every other source has ended.
   */
  readonly listens?: boolean;
  /**
   * What it yields is right for its own volumes alone, as the token in a LUKS2 header is: it is not tried on other members of a pool. The pool
   * opens when each member has accepted what is its own.
   */
  readonly opensAlone?: boolean;
  /** Milliseconds after which the heart aborts it; none for a person. */
  readonly timeLimit?: number;
  /**
   * Runs until it has nothing more to offer or the signal is aborted.
   * @throws LatchkeyError with the reason it has no credential
   */
  run(context: SourceContext): Promise<void>;
}
