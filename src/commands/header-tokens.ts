import { basename } from "node:path";
import { partForBoot } from "../config/boot-part.ts";
import type { Plan, VolumePlan } from "../config/plan.ts";
import { type FoundVolume, type Providers, providerFor, type TokenText } from "../providers/provider.ts";
import { LatchkeyError } from "../system/errors.ts";

/**
 * The Clevis tokens in the headers of the volumes that an initrd will open, for whoever builds one here and now. Devices that
 * are not here say nothing.
 * @param below the devices below the root filesystem; undefined where that is not known
 */
export async function tokensForInitrd(
  plan: Plan,
  providers: Providers,
  below: ReadonlySet<string> | undefined,
): Promise<readonly TokenText[]> {
  const volumes = partForBoot(plan).volumes.filter(looksIntoHeader);
  const tokens = await Promise.all(
    volumes.map(async (volume) => {
      const found = await look(volume, providers);
      if (!found || !isForInitrd(volume, found, below)) return [];
      const provider = providerFor(volume, providers);
      return (await provider.headerTokens?.(volume.name, "clevis", new AbortController().signal)) ?? [];
    }),
  );
  return tokens.flat();
}

/** Detached headers that are files: without them an initrd could not open the volumes they belong to. */
export function headerFilesForImage(plan: Plan): readonly string[] {
  const headers = partForBoot(plan).volumes.flatMap(({ luks }) => luks?.header ?? []);
  return [...new Set(headers.filter((header) => header.startsWith("/") && !header.startsWith("/dev/")))];
}

function looksIntoHeader({ sources }: VolumePlan): boolean {
  return sources.some((source) => source.kind === "clevis" && source.inHeader !== undefined);
}

/**
 * Of crypttab an image gets what the root filesystem lies on and what asks to be there; what latchkey.toml names it opens in
 * any case. Unsure means yes: drivers too many do no harm.
 */
function isForInitrd({ luks }: VolumePlan, { devices }: FoundVolume, below: ReadonlySet<string> | undefined): boolean {
  if (!luks?.isNamedBySystem || luks.isWantedInInitrd || below === undefined) return true;
  return devices.some((device) => below.has(basename(device)));
}

async function look(volume: VolumePlan, providers: Providers): Promise<FoundVolume | undefined> {
  try {
    return await providerFor(volume, providers).find(volume, {
      signal: new AbortController().signal,
      deviceTimeout: 0,
      memberTimeout: 0,
      allowDegraded: true,
      note: () => undefined,
    });
  } catch (thrown) {
    if (!(thrown instanceof LatchkeyError)) throw thrown;
    return undefined;
  }
}
