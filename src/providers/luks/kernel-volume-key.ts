import type { Keyring, KeyringName } from "../../keyutils-ffi/keyring.ts";
import { LatchkeyError } from "../../system/errors.ts";

/** Seconds after which the kernel forgets a volume key by itself, should latchkey end before it can see to that. */
const FORGOTTEN_AFTER = 600;

/** The parts of the kernel's keyrings that this takes; tests bring their own. */
export type VolumeKeyKeyring = Pick<Keyring, "keyringId" | "search" | "setTimeout" | "invalidate">;

/**
 * A volume key on its way from one call of cryptsetup, which derives it to prove a passphrase, to the next, which opens with
 * it: in a keyring of the kernel, so that it is derived once. Disposing takes it out again, whatever happened.
 *
 * Both calls must be able to read it, and a key is readable to who possesses it (keyrings(7)): below the session keyring,
 * which children inherit, or where a process has none of its own below the user keyring.
 */
export class KernelVolumeKey implements Disposable {
  readonly #keyring: VolumeKeyKeyring;
  readonly #place: KeyringName;
  readonly #description: string;

  /** @param label makes the key's description unique: the LUKS UUID */
  constructor(keyring: VolumeKeyKeyring, label: string) {
    this.#keyring = keyring;
    this.#place = hasOwnSession(keyring) ? "session" : "user";
    this.#description = `latchkey:volume-key:${label}`;
  }

  /** For `--link-vk-to-keyring`, cryptsetup-open(8). */
  get linkArgument(): string {
    return `${this.#place === "session" ? "@s" : "@u"}::${this.reference}`;
  }

  /** For `--volume-key-keyring`. */
  get reference(): string {
    return `%user:${this.#description}`;
  }

  /** Is it there? If so, the kernel is told when to forget it at the latest. */
  settle(): boolean {
    const serial = this.#serial();
    if (serial !== undefined) this.#keyring.setTimeout(serial, FORGOTTEN_AFTER);
    return serial !== undefined;
  }

  [Symbol.dispose](): void {
    try {
      const serial = this.#serial();
      if (serial !== undefined) this.#keyring.invalidate(serial);
    } catch (thrown) {
      // It is gone already, or goes when its time is up.
      if (!(thrown instanceof LatchkeyError)) throw thrown;
    }
  }

  #serial(): number | undefined {
    return this.#keyring.search(this.#place, "user", this.#description);
  }
}

/** A process without a session keyring has that of its user in its place, which a child that adds a key does not take. */
function hasOwnSession(keyring: VolumeKeyKeyring): boolean {
  return keyring.keyringId("session") !== keyring.keyringId("user_session");
}
