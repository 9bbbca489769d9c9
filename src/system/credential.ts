import type { SecretBytes } from "./secret-bytes.ts";

/**
 * The secret a source yielded, with what was derived from it. A key derivation is the expensive step of an attempt, and
 * one passphrase is often tried on several volumes, so each derivation is made once and shared.
 */
export class Credential implements Disposable {
  readonly secret: SecretBytes;
  readonly #derived = new Map<string, Promise<SecretBytes>>();

  /** Takes over the scope of the secret. */
  constructor(secret: SecretBytes) {
    this.secret = secret;
  }

  /**
   * The key derived under `parameters` (a text that names algorithm and cost), derived on first use. The result lives as
   * long as the credential: clone it to keep it longer.
   */
  derived(parameters: string, derive: (secret: SecretBytes) => Promise<SecretBytes>): Promise<SecretBytes> {
    const known = this.#derived.get(parameters);
    if (known) return known;
    const made = derive(this.secret);
    this.#derived.set(parameters, made);
    return made;
  }

  [Symbol.dispose](): void {
    this.secret[Symbol.dispose]();
    for (const made of this.#derived.values()) {
      made.then(
        (key) => key[Symbol.dispose](),
        () => undefined, // the one who asked for it has seen the error
      );
    }
    this.#derived.clear();
  }
}
