import { LatchkeyError } from "../system/errors.ts";
import type { SecretBytes } from "../system/secret-bytes.ts";
import type { Person } from "./person.ts";
import { qrCode, qrText } from "./qr-code.ts";
import { compareTyped } from "./recovery-key.ts";

/** Times somebody may mistype 64 letters before it is better to begin anew. */
const MAX_TRIES = 5;

const NEW_LINE = "\r\n";

/**
 * Shows the key on a page of its own, takes it off the screen, and has it typed back from what the person keeps of it.
 * @param key stays the caller's
 * @returns what was typed, written as the key is
 * @throws LatchkeyError enroll/recovery-unproven
 */
export async function proveRecoveryKey(
  key: SecretBytes,
  name: string,
  person: Person,
  signal: AbortSignal,
): Promise<SecretBytes> {
  await showKey(key, name, person, signal);
  let before = "";
  for (let tries = 0; tries < MAX_TRIES; ) {
    using typed = await person.askSecret(`${before}Type the recovery key (Enter alone shows it again)`, signal);
    if (!typed) throw unproven(name, "it was not typed back");
    if (typed.length === 0) {
      await showKey(key, name, person, signal);
      before = "";
      continue;
    }
    const result = compareTyped(key, typed);
    if (result.is === "right") return result.key;
    before = `Wrong: ${result.why}. `;
    tries += 1;
  }
  throw unproven(name, `it was typed wrong ${MAX_TRIES} times`);
}

async function showKey(key: SecretBytes, name: string, person: Person, signal: AbortSignal): Promise<void> {
  using modules = qrCode(key);
  using picture = qrText(modules);
  const page = [picture, `Recovery key of ${name}:${NEW_LINE}`, key, NEW_LINE];
  using done = await person.show(page, () =>
    person.askSecret("Write it down or photograph it; Enter takes it off the screen", signal),
  );
  if (!done) throw unproven(name, "its page was left");
}

function unproven(name: string, why: string): LatchkeyError {
  return new LatchkeyError("enroll/recovery-unproven", `the recovery key of ${name} is not put to use: ${why}`, {
    hint: "nothing was changed; start again for a new key",
  });
}
