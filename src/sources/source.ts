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
  /** The source has nothing now and says why, but goes on listening: the question need not wait for it any longer. */
  nothingYet(reason: LatchkeyError): void;
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
  /** Milliseconds after which the heart aborts it; none for a person. */
  readonly timeLimit?: number;
  /**
   * Runs until it has nothing more to offer or the signal is aborted.
   * @throws LatchkeyError with the reason it has no credential
   */
  run(context: SourceContext): Promise<void>;
}
