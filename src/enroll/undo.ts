import type { Luks2Device } from "../providers/luks/luks2-device.ts";
import { asLatchkeyError, LatchkeyError } from "../system/errors.ts";
import type { SecretBytes } from "../system/secret-bytes.ts";

/** How to take one thing out again that an enrolment has put somewhere. */
export interface Undo {
  readonly what: string;
  /** For a person, if it cannot be done here. */
  readonly command: string;
  run(): Promise<void>;
}

const neverAborted = new AbortController().signal;

/**
 * Of a key slot that is about to be added. Somebody else's key may come into it before ours: then there is nothing of ours to take out.
 * @param key what the slot is for; alive as long as the undo
 * @param passphrase what opens another slot; likewise
 */
export function removalOfSlot(device: Luks2Device, slot: number, key: SecretBytes, passphrase: SecretBytes): Undo {
  return {
    what: `take key slot ${slot} out of ${device.path}`,
    command: `cryptsetup luksKillSlot ${device.path} ${slot}`,
    run: async () => {
      if (!(await device.metadata()).slots.has(slot)) return;
      const isOurs = await device.prove(key, slot, neverAborted).then(
        () => true,
        (thrown: LatchkeyError) => {
          if (thrown.code === "luks/wrong-passphrase") return false;
          throw thrown;
        },
      );
      if (isOurs) await device.removeSlot(slot, passphrase);
    },
  };
}

/**
 * Takes out again what a run put in, the last first.
 * @param say one line for each
 * @returns the error to end with: the one it failed for, or that something was left behind
 */
export async function undoAll(
  undos: readonly Undo[],
  error: LatchkeyError,
  say: (line: string) => void,
): Promise<LatchkeyError> {
  const left: { readonly why: string; readonly command: string }[] = [];
  for (const { what, command, run } of undos.toReversed()) {
    say(`undo: ${what}`);
    try {
      await run();
    } catch (thrown) {
      left.push({ why: `${what} failed: ${asLatchkeyError(thrown).message}`, command });
    }
  }
  if (left.length === 0) return error;
  const message = [error.message, ...left.map(({ why }) => why)].join("; and ");
  const hint = `take it out by hand: ${left.map(({ command }) => command).join(" && ")}`;
  return new LatchkeyError("enroll/left-behind", message, { hint, cause: error });
}
