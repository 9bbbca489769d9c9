import type { Plan, SourcePlan, VolumePlan } from "../config/plan.ts";
import { type FoundVolume, type Provider, type Providers, providerFor } from "../providers/provider.ts";
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

/** The state in a word, also where there is none. */
export function stateOf(looked: Looked): string {
  if ("found" in looked) return looked.found.state;
  if (looked.volume.certainty !== "stated") return "-";
  return looked.error.outcome === "unavailable" ? "not there" : "unusable";
}

/**
 * Looks at every volume of the plan once, waiting for none.
 * @param providers for whoever asks them more afterwards
 */
export async function lookAt(plan: Plan, providers: Providers = assembleProviders()): Promise<readonly Looked[]> {
  return await Promise.all(
    plan.volumes.map(async (volume) => {
      const notes: string[] = [];
      try {
        const provider = providerFor(volume, providers);
        const found = await provider.find(volume, {
          signal: new AbortController().signal,
          deviceTimeout: 0,
          memberTimeout: 0,
          allowDegraded: true,
          note: (text) => notes.push(text),
        });
        return { volume: await withSourcesThere(volume, provider), found, notes };
      } catch (thrown) {
        return { volume, error: asLatchkeyError(thrown), notes };
      }
    }),
  );
}

/** A header without tokens is no way in, unless somebody wrote that it is to be one. */
async function withSourcesThere(volume: VolumePlan, provider: Provider): Promise<VolumePlan> {
  const { name, sources } = volume;
  const tokens = await provider.headerTokens?.(name, "clevis", new AbortController().signal);
  const isAbsent = (source: SourcePlan): boolean =>
    source.kind === "clevis" && source.inHeader === "if-any" && tokens?.length === 0;
  return { ...volume, sources: sources.filter((source) => !isAbsent(source)) };
}
