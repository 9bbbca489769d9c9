import { isRootMount, takesRootFromFstab } from "./found-volumes.ts";
import type { Fstab } from "./fstab.ts";
import type { KernelCommandLine } from "./kernel-command-line.ts";
import type { Candidate } from "./merge-volumes.ts";
import type { LuksPlan, PoolPlan, SourcePlan } from "./plan.ts";
import type { Problem } from "./problems.ts";
import { clevisTimeout } from "./source-registry.ts";
import type { MachineFacts } from "./system-luks.ts";
import { promptOnly } from "./toml-sources.ts";

/** Where nothing is said of the sources of a LUKS volume: what its header holds is known when it is found. */
export const headerThenPrompt: readonly SourcePlan[] = [
  { kind: "clevis", timeout: clevisTimeout, inHeader: "if-any" },
  ...promptOnly,
];

export function planLuks({ luks, opener }: Pick<Candidate, "luks" | "opener">): LuksPlan {
  const decided = { allowDiscards: false, readOnly: false, openOptions: [], ...luks };
  return opener === undefined ? { ...decided, opener: "latchkey" } : { ...decided, opener, isNamedBySystem: true };
}

/** A LUKS volume's token is in its header, where no file is named and none lies at the usual place. */
export function fromHeader(source: SourcePlan): SourcePlan {
  if (source.kind !== "clevis" || source.token !== undefined || source.inHeader !== undefined) return source;
  return { ...source, inHeader: "required" };
}

/** The mapping that the root filesystem is mounted from holds the root, and is opened at boot whatever `noauto` says. */
export function withRootMapping(
  volumes: readonly Candidate[],
  kernel: KernelCommandLine,
  fstab: Fstab | undefined,
): readonly Candidate[] {
  const device = takesRootFromFstab(kernel) ? fstab?.entries.find(isRootMount)?.device : kernel.root;
  return volumes.map((volume) =>
    volume.kind === "luks" && device === `/dev/mapper/${volume.name}`
      ? { ...volume, isRoot: true, isOnDemand: false }
      : volume,
  );
}

/** A pool opens together or not at all: with one member that waits to be asked for, all of them do. */
export function withPoolsOnDemand(volumes: readonly Candidate[], pools: readonly PoolPlan[]): readonly Candidate[] {
  const waiting = new Set(volumes.filter(({ isOnDemand }) => isOnDemand === true).map(({ name }) => name));
  const names = new Set(
    pools.filter((pool) => pool.volumes.some((name) => waiting.has(name))).flatMap((pool) => pool.volumes),
  );
  return volumes.map((volume) => (names.has(volume.name) ? { ...volume, isOnDemand: true } : volume));
}

/** LUKS volumes of the configuration that name no device, when crypttab does not name them either. */
export function missingDevices(volumes: readonly Candidate[], { inInitrd }: MachineFacts): readonly Problem[] {
  // An initrd has the lines of crypttab that it needs: the others come later, and their volumes with them.
  if (inInitrd) return [];
  return volumes
    .filter(({ kind, devices }) => kind === "luks" && devices.length === 0)
    .map(({ name, origin }) => ({
      severity: "error",
      code: "config/invalid-value",
      origin,
      key: `volumes.${name}.device`,
      text: 'missing, and crypttab has no volume of this name (for example device = "UUID=…")',
    }));
}
