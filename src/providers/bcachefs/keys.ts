import type { Keyring, KeyringName } from "../../keyutils-ffi/keyring.ts";
import { LatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import { opensWrappedKey } from "./key.ts";
import { DERIVED_KEY_BYTES } from "./scrypt.ts";
import type { Superblock } from "./superblock.ts";

/** What this folder needs of the kernel's keyrings. */
export type VolumeKeyring = Pick<
  Keyring,
  "addKey" | "requestKey" | "search" | "link" | "unlink" | "invalidate" | "read"
>;

/** The keyrings bcachefs-tools offer; the user keyring is their default and ours. */
export type Destination = Extract<KeyringName, "user" | "session" | "user_session">;

/** Where bcachefs-tools look for a key that is there already, in their order (src/key.rs). */
const SEARCHED: readonly Destination[] = ["session", "user", "user_session"];

/** What the kernel asks for at the mount: type `user`, and this. */
function keyDescription(externalUuid: string): string {
  return `bcachefs:${externalUuid}`;
}

/** `right` and `wrong` were tried on the superblock; `unchecked` may not be read. */
export type PresentKey = "absent" | "right" | "wrong" | "unchecked";

/**
 * Is the key there already? Reading takes possession, so the user keyring may get linked into this process's session
 * keyring for it, which open() and the mount want as well.
 */
export function presentKey(keyring: VolumeKeyring, superblock: Superblock): PresentKey {
  const description = keyDescription(superblock.externalUuid);
  for (const place of SEARCHED) {
    const serial = tolerated(() => keyring.search(place, "user", description));
    if (serial === undefined) continue;
    let found = tolerated(() => keyring.read(serial));
    if (!found) {
      tolerated(() => keyring.link(place === "session" ? "user" : place, "session"));
      found = tolerated(() => keyring.read(serial));
    }
    if (!found) return "unchecked";
    using key = found;
    return isRight(key, superblock) ? "right" : "wrong";
  }
  return "absent";
}

function isRight(key: SecretBytes, { crypt, nonce }: Superblock): boolean {
  return key.length === DERIVED_KEY_BYTES && crypt !== undefined && opensWrappedKey(key, crypt, nonce);
}

/** For questions to a keyring whose failure is an answer too. */
function tolerated<Value>(ask: () => Value): Value | undefined {
  try {
    return ask();
  } catch {
    return undefined;
  }
}

/**
 * Adds the key where a mount finds it, and makes sure of that.
 *
 * The mount searches the thread, process and session keyrings of whoever calls mount(2), not the user keyring itself. So
 * the user keyring is linked into our session keyring: the keyring, never the key, for naming the session keyring as the
 * destination of a key gives a process that has none a new and empty one, and hides the key (facts: bcachefs issues 640,
 * 660; bcachefs-tools 276, 539).
 * @returns what takes the key out again
 * @throws KeyringError, LatchkeyError bcachefs/key-not-visible; then the key is gone again
 */
export function installKey(
  keyring: VolumeKeyring,
  externalUuid: string,
  key: SecretBytes,
  destination: Destination,
): () => void {
  const description = keyDescription(externalUuid);
  const serial = keyring.addKey("user", description, key, destination);
  const remove = (): void => keyring.unlink(serial, destination);
  try {
    makeVisible(keyring, description, serial, key, destination);
  } catch (thrown) {
    tolerated(remove);
    throw thrown;
  }
  return remove;
}

function makeVisible(
  keyring: VolumeKeyring,
  description: string,
  serial: number,
  key: SecretBytes,
  destination: Destination,
): void {
  let refusal: unknown;
  try {
    keyring.link(destination === "user_session" ? "user_session" : "user", "session");
  } catch (thrown) {
    refusal = thrown; // not fatal as long as the key is seen
  }
  let seen = keyring.requestKey("user", description);
  if (seen !== undefined && seen !== serial && !holds(keyring, seen, key)) {
    // Another key by this name is found first, and it is not the right one: left from before the passphrase was changed.
    keyring.invalidate(seen);
    seen = keyring.requestKey("user", description);
  }
  if (seen === undefined) {
    throw new LatchkeyError(
      "bcachefs/key-not-visible",
      `the key ${description} is in the ${destination} keyring, but a mount by this process would not find it`,
      { hint: "link the user keyring into the session keyring (keyctl link @u @s) where you mount", cause: refusal },
    );
  }
}

function holds(keyring: VolumeKeyring, serial: number, key: SecretBytes): boolean {
  const found = tolerated(() => keyring.read(serial));
  if (!found) return false;
  using other = found;
  return other.equals(key);
}
