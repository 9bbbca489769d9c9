import { totalmem } from "node:os";
import type { Plan, VolumePlan } from "../../config/plan.ts";
import type { Providers } from "../../providers/provider.ts";
import { LatchkeyError } from "../../system/errors.ts";
import type { Looked } from "../look.ts";
import type { FoundFacts, Gathered, VolumeFacts } from "./facts.ts";
import { gatherSource, type SourceMeans } from "./gather-sources.ts";
import { gathered } from "./gathered.ts";

/** Milliseconds until every device has been looked at: a dead disk holds up its own volume only. */
const LOOK_LIMIT = 30_000;

export interface VolumeMeans extends SourceMeans {
  readonly providers: Providers;
  lookAt(plan: Plan): Promise<readonly Looked[]>;
}

/** Each volume as it is now, with each of its sources. They are looked at side by side. */
export async function gatherVolumes(
  plan: Plan,
  means: VolumeMeans,
  signal: AbortSignal,
): Promise<readonly VolumeFacts[]> {
  return await Promise.all(plan.volumes.map((volume) => gatherVolume(volume, plan, means, signal)));
}

async function gatherVolume(
  volume: VolumePlan,
  plan: Plan,
  means: VolumeMeans,
  signal: AbortSignal,
): Promise<VolumeFacts> {
  const one = await gathered(`volume ${volume.name}`, LOOK_LIMIT, means.clock, signal, async () => {
    const [looked] = await means.lookAt({ ...plan, volumes: [volume], pools: [] });
    return looked;
  });
  const looked = "value" in one ? one.value : undefined;
  // What nobody would have to open needs no source.
  const sources = looked?.volume.sources ?? volume.sources;
  const provider = means.providers.get(volume.kind);
  const isAbsent = looked === undefined || "error" in looked;
  const isGuess = volume.certainty !== "stated" && isAbsent;
  return {
    volume,
    found: foundFacts(one),
    notes: looked?.notes ?? [],
    sources: isGuess
      ? []
      : await Promise.all(
          sources
            .filter((source) => !(isAbsent && source.kind === "clevis" && source.inHeader !== undefined))
            .map((source) => gatherSource(source, volume, provider, means, signal)),
        ),
  };
}

function foundFacts(one: Gathered<Looked | undefined>): Gathered<FoundFacts> {
  if ("error" in one) return one;
  const looked = one.value;
  if (looked === undefined) return { error: new LatchkeyError("internal/defect", "nothing came of looking at it") };
  if ("error" in looked) return { error: looked.error };
  const { state, description, uuid, devices, proofMemory } = looked.found;
  return { value: { state, description, uuid, devices, proofMemory, memoryThere: totalmem() } };
}
