import { LatchkeyError } from "../system/errors.ts";
import type { SecretBytes } from "../system/secret-bytes.ts";
import type { Person } from "./person.ts";
import { proveOn, type Target } from "./target.ts";

/** Times a person may mistype the passphrase. */
const PASSPHRASE_TRIES = 3;

export interface PassphraseMeans {
  readonly target: Target;
  readonly person: Person;
  /** From a file. Absent: the person is asked. Stays the caller's. */
  readonly passphrase?: SecretBytes | undefined;
  say(line: string): void;
  readonly signal: AbortSignal;
}

/**
 * A passphrase that opens the volume as it is now: the one given, or asked for.
 * @param scope takes what was asked for
 * @throws LatchkeyError `wrong-credential`, prompt/…
 */
export async function provenPassphrase(means: PassphraseMeans, scope: DisposableStack): Promise<SecretBytes> {
  const { target, passphrase, signal } = means;
  for (let tries = 1; ; tries += 1) {
    const secret = passphrase ?? scope.use(await askPassphrase(means));
    try {
      await proveOn(target, secret, signal);
      return secret;
    } catch (thrown) {
      const isWrong = thrown instanceof LatchkeyError && thrown.outcome === "wrong-credential";
      if (!isWrong || passphrase || tries >= PASSPHRASE_TRIES) throw thrown;
      means.say(`  ${thrown.message}`);
    }
  }
}

async function askPassphrase({ target, person, signal }: PassphraseMeans): Promise<SecretBytes> {
  const where = target.kind === "luks2" ? target.facts.device : target.facts.description;
  const answer = await person.askSecret(`Passphrase for ${target.facts.name} (${where})`, signal);
  if (!answer) throw new LatchkeyError("prompt/cancelled", `${target.facts.name}: no passphrase was given`);
  return answer;
}
