import type { SecretBytes } from "../secret-bytes.ts";

/**
 * The ways to put a question to a person:
 * `agents`: systemd's password agents (its console agent, Plymouth, `systemd-tty-ask-password-agent`);
 * `askpass`: Debian's /lib/cryptsetup/askpass in an initramfs-tools image;
 * `terminal`: our own question on the terminal latchkey was started from;
 * `console`: our own question on /dev/console.
 */
export type Way = "agents" | "askpass" | "terminal" | "console";

/** The longest passphrase taken at a question: a terminal line holds no more. Longer keys come from files. */
export const LONGEST_ANSWER = 4094;

export interface Question {
  /** One line without a closing colon, fit to be shown: `Passphrase for root (bcachefs "tank")`. */
  readonly text: string;
  /** Tells agents what is asked for: `latchkey:root`. */
  readonly id: string;
}

/** What came of a question. Whoever receives a secret takes over its scope. */
export type Answer =
  | { readonly kind: "secret"; readonly secret: SecretBytes }
  | { readonly kind: "too-long" }
  | { readonly kind: "cancelled" };

/** Asks by one way, one question after the other; disposing leaves the terminal as it was. */
export interface Asker extends Disposable {
  readonly way: Way;
  /**
   * Puts the question up until it is answered or the signal is aborted; then nothing of it is left, neither on a screen
   * nor in a folder. After an abort the next question may follow at once: what a person has typed so far is kept for it
   * where the way allows.
   * @returns undefined when aborted
   * @throws LatchkeyError `unavailable` when this way does not work here
   */
  ask(question: Question, signal: AbortSignal): Promise<Answer | undefined>;
}
