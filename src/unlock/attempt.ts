import type { FoundVolume, OpenedVolume, ProvenVolume } from "../providers/provider.ts";
import type { Credential } from "../system/credential.ts";
import { asLatchkeyError, LatchkeyError } from "../system/errors.ts";

/** What one credential did to one group. */
export interface AttemptResult {
  /** True when every volume is open now. */
  readonly opened: boolean;
  /** Volumes that refused, by name. Empty when opened. */
  readonly errors: ReadonlyMap<string, LatchkeyError>;
}

/**
 * Verify all, then open all: every volume of the group accepts the credential before the first one is opened; when a later
 * opening fails, what this call opened, and only that, is closed again, last first.
 */
export async function attemptGroup(
  volumes: readonly FoundVolume[],
  credential: Credential,
  signal: AbortSignal,
): Promise<AttemptResult> {
  const errors = new Map<string, LatchkeyError>();
  const proven = new Map<FoundVolume, ProvenVolume>();
  try {
    await Promise.all(
      volumes.map(async (volume) => {
        try {
          proven.set(volume, await volume.prove(credential, signal));
        } catch (thrown) {
          errors.set(volume.name, asLatchkeyError(thrown));
        }
      }),
    );
    if (errors.size > 0) return { opened: false, errors };
    return await openInTurn(proven);
  } finally {
    for (const volume of proven.values()) volume[Symbol.dispose]();
  }
}

async function openInTurn(proven: ReadonlyMap<FoundVolume, ProvenVolume>): Promise<AttemptResult> {
  const opened: { volume: FoundVolume; handle: OpenedVolume }[] = [];
  for (const [volume, ready] of proven) {
    try {
      opened.push({ volume, handle: await ready.open() });
    } catch (thrown) {
      const errors = new Map([[volume.name, asLatchkeyError(thrown)]]);
      for (const { volume: earlier, handle } of opened.reverse()) {
        try {
          await handle.close();
        } catch (closing) {
          const reason = asLatchkeyError(closing).message;
          errors.set(
            earlier.name,
            new LatchkeyError(
              "unlock/left-open",
              `${earlier.name} was opened and could not be closed again: ${reason}`,
            ),
          );
        }
      }
      return { opened: false, errors };
    }
  }
  return { opened: true, errors: new Map() };
}
