import type { FoundVolume, OpenedVolume, ProvenVolume } from "../providers/provider.ts";
import type { Credential } from "../system/credential.ts";
import { asLatchkeyError, LatchkeyError } from "../system/errors.ts";
import type { ProofRoom } from "./proof-room.ts";

type Errors = ReadonlyMap<string, LatchkeyError>;

export interface ProvenMember {
  readonly volume: FoundVolume;
  readonly ready: ProvenVolume;
}

/** All volumes of a group, each with a credential that it has accepted; disposing wipes what would open them. */
export interface ProvenGroup extends Disposable {
  /** In the order of the group. */
  readonly members: readonly ProvenMember[];
}

/** Proven by every member, or why not: volumes that refused, by name. */
export type ProofResult = { readonly proven: ProvenGroup } | { readonly errors: Errors };

export interface ProofParts {
  readonly room: ProofRoom;
  readonly signal: AbortSignal;
  /** Called each time one more of them has accepted the credential. */
  accepted?(count: number): void;
}

/**
 * The first half of "verify all, then open all": every volume accepts the credential before the first one is opened. Members
 * are proved side by side as far as the machine bears. Those that have not begun when one refuses are not tried: the pool
 * stays closed whatever they say, and with a mistyped passphrase each would take as long to say the same.
 */
export async function proveAll(
  volumes: readonly FoundVolume[],
  credential: Credential,
  { room, signal, accepted = () => undefined }: ProofParts,
): Promise<ProofResult> {
  const errors = new Map<string, LatchkeyError>();
  using proven = new DisposableStack();
  const ready = new Map<FoundVolume, ProvenVolume>();
  await Promise.all(
    volumes.map(async (volume) => {
      // Nothing may throw outside: it would end the wait for the others, and what they prove afterwards nobody would wipe.
      try {
        using place = await room.enter(volume.proofMemory, signal);
        if (errors.size > 0) return;
        if (!place) throw interrupted(volume);
        ready.set(volume, proven.use(await volume.prove(credential, signal)));
        accepted(ready.size);
      } catch (thrown) {
        errors.set(volume.name, asLatchkeyError(thrown));
      }
    }),
  );
  if (errors.size > 0) return { errors };
  const members = volumes.flatMap((volume) => {
    const one = ready.get(volume);
    return one ? [{ volume, ready: one }] : [];
  });
  const scope = proven.move();
  return { proven: { members, [Symbol.dispose]: () => scope.dispose() } };
}

export interface OpenResult {
  /** True when every volume is open now. */
  readonly opened: boolean;
  /** What was opened and is open still, by name: whoever has no use for it any longer can close it. */
  readonly handles: ReadonlyMap<string, OpenedVolume>;
  /** Why volumes are not open, or are although they should not be (unlock/left-open), by name. */
  readonly errors: Errors;
  /** What all of them hold must not be open together: no other credential changes that. */
  readonly rejection?: LatchkeyError;
}

const none: ReadonlyMap<string, OpenedVolume> = new Map();

/**
 * The second half: opens in the order of the group. When a later opening fails, or the signal is aborted before all are open,
 * what this call opened, and only that, is closed again, last first.
 * @param review looks at what is open then; what it throws has all of it closed again
 */
export async function openAll(
  { members }: ProvenGroup,
  signal: AbortSignal,
  review: () => Promise<void> = () => Promise.resolve(),
): Promise<OpenResult> {
  const opened: { volume: FoundVolume; handle: OpenedVolume }[] = [];
  for (const { volume, ready } of members) {
    try {
      if (signal.aborted) throw interrupted(volume);
      opened.push({ volume, handle: await ready.open() });
    } catch (thrown) {
      const error = asLatchkeyError(thrown);
      return { opened: false, handles: none, errors: new Map([[volume.name, error], ...(await closeAgain(opened))]) };
    }
  }
  try {
    await review();
  } catch (thrown) {
    const rejection = asLatchkeyError(thrown);
    const errors = members.map(({ volume }) => [volume.name, rejection] as const);
    return { opened: false, handles: none, errors: new Map([...errors, ...(await closeAgain(opened))]), rejection };
  }
  return {
    opened: true,
    handles: new Map(opened.map(({ volume, handle }) => [volume.name, handle] as const)),
    errors: new Map(),
  };
}

/** @returns what could not be closed */
async function closeAgain(
  opened: readonly { readonly volume: FoundVolume; readonly handle: OpenedVolume }[],
): Promise<Errors> {
  const errors = new Map<string, LatchkeyError>();
  for (const { volume, handle } of opened.toReversed()) {
    try {
      await handle.close();
    } catch (thrown) {
      const { message } = asLatchkeyError(thrown);
      errors.set(
        volume.name,
        new LatchkeyError("unlock/left-open", `${volume.name} was opened and could not be closed again: ${message}`),
      );
    }
  }
  return errors;
}

function interrupted({ name }: FoundVolume): LatchkeyError {
  return new LatchkeyError("unlock/interrupted", `${name}: interrupted before it was opened`);
}
