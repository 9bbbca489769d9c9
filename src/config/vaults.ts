import type { VolumePlan } from "./plan.ts";
import type { Problem } from "./problems.ts";

/** The vaults whose key files a volume may be opened with. */
export function vaultsOf({ sources }: VolumePlan): readonly string[] {
  return sources.flatMap((source) => (source.kind === "vault" ? [source.volume] : []));
}

/** Vaults that cannot be what they are named for: not there, of a kind without files, or waiting for each other. */
export function vaultProblems(volumes: readonly VolumePlan[]): readonly Problem[] {
  const byName = new Map(volumes.map((volume) => [volume.name, volume]));
  return volumes.flatMap((volume) =>
    vaultsOf(volume).flatMap((name): readonly Problem[] => {
      const text = whyUnfit(volume, name, byName);
      const key = `volumes.${volume.name}.vault`;
      return text === undefined
        ? []
        : [{ severity: "error", code: "config/invalid-value", origin: volume.origin, key, text }];
    }),
  );
}

function whyUnfit(volume: VolumePlan, name: string, byName: ReadonlyMap<string, VolumePlan>): string | undefined {
  const vault = byName.get(name);
  if (vault === undefined) return `there is no volume "${name}"`;
  if (vault.kind !== "luks")
    return `volume "${name}" is a ${vault.kind}, and a vault is a LUKS volume with a filesystem in it`;
  const reached = new Set<string>();
  for (const waiting = [name]; waiting.length > 0; ) {
    const next = waiting.pop() ?? "";
    if (next === volume.name) return `volume "${name}" waits for the key of "${volume.name}" itself`;
    if (reached.has(next)) continue;
    reached.add(next);
    const one = byName.get(next);
    if (one) waiting.push(...vaultsOf(one));
  }
  return undefined;
}
