import type { Plan, VolumePlan } from "../config/plan.ts";
import { type FoundVolume, providerFor } from "../providers/provider.ts";
import { asLatchkeyError, type LatchkeyError } from "../system/errors.ts";
import { assembleProviders } from "./assemble.ts";

/** A volume of the plan as it is on this machine now: found, or the reason it is not. */
export type Looked =
  | { readonly volume: VolumePlan; readonly found: FoundVolume; readonly notes: readonly string[] }
  | { readonly volume: VolumePlan; readonly error: LatchkeyError; readonly notes: readonly string[] };

/** Why no credential can be right or wrong there; undefined for a volume that has one, open or not. */
export function whyNothingToUnlock({ state, description }: FoundVolume): string | undefined {
  if (state === "unencrypted") return `${description} is not encrypted`;
  if (state === "unprotected")
    return `${description} is encrypted without a passphrase: its key lies in clear on the disk`;
  return undefined;
}

/** Looks at every volume of the plan once, waiting for none. */
export async function lookAt(plan: Plan): Promise<readonly Looked[]> {
  const providers = assembleProviders();
  return await Promise.all(
    plan.volumes.map(async (volume) => {
      const notes: string[] = [];
      try {
        const found = await providerFor(volume, providers).find(volume, {
          signal: new AbortController().signal,
          deviceTimeout: 0,
          memberTimeout: 0,
          allowDegraded: true,
          note: (text) => notes.push(text),
        });
        return { volume, found, notes };
      } catch (thrown) {
        return { volume, error: asLatchkeyError(thrown), notes };
      }
    }),
  );
}
