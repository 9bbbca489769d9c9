import type { Crypttab } from "./crypttab.ts";
import { findVolumes } from "./found-volumes.ts";
import type { Fstab } from "./fstab.ts";
import type { KernelCommandLine } from "./kernel-command-line.ts";
import { type Candidate, mergeVolumes } from "./merge-volumes.ts";
import { quoted } from "./parsed.ts";
import type { LeftToSystem, Plan, PoolPlan, SourcePlan, VolumePlan } from "./plan.ts";
import { type Problem, problemLine } from "./problems.ts";
import { mountsDegraded, planRootMount } from "./root-mount.ts";
import { clevisTimeout } from "./source-registry.ts";
import type { TomlConfiguration } from "./toml.ts";
import { promptOnly } from "./toml-sources.ts";

/** What holds when nobody says otherwise, in milliseconds. docs/configuration.md names them. */
export const planDefaults = {
  /** Long enough for a TPM to answer, short enough that nobody wonders whether the machine is dead. */
  promptAfter: 2000,
  /** systemd's own limit for a device (DefaultDeviceTimeoutSec=). */
  deviceTimeout: 90_000,
  /** As the bcachefs mount helper waits for its members. */
  memberTimeout: 30_000,
} as const;

/** Everything that was read; undefined where there is no such file. */
export interface PlanInput {
  readonly kernel: KernelCommandLine;
  readonly toml?: TomlConfiguration | undefined;
  readonly fstab?: Fstab | undefined;
  readonly crypttab?: Crypttab | undefined;
  /** Names of volumes for which a token lies at its usual place, /etc/latchkey/NAME.jwe. */
  readonly tokens?: ReadonlySet<string>;
}

export interface MadePlan {
  readonly plan: Plan;
  /** What `plan.warnings` says, with severity: whoever must not go on with errors looks here. */
  readonly problems: readonly Problem[];
}

/** One plan from all places. The kernel command line wins over latchkey.toml, that over what latchkey finds by itself. */
export function makePlan({ kernel, toml, fstab, crypttab, tokens = new Set() }: PlanInput): MadePlan {
  const found = findVolumes(kernel, fstab);
  const overruled = new Set(kernel.leftToSystem.map((left) => left.name));
  const merged = mergeVolumes([
    ...kernel.volumes.map((volume) => ({ ...volume, isRoot: false, isConfigured: true })),
    ...(toml?.volumes ?? [])
      .filter((volume) => !overruled.has(volume.name))
      .map((volume) => ({ ...volume, isRoot: false, isConfigured: true })),
    ...found.volumes.map((volume) => ({ ...volume, isConfigured: false })),
  ]);
  const leftToSystem = listLeft([...kernel.leftToSystem, ...(toml?.leftToSystem ?? []), ...leftByCrypttab(crypttab)]);
  const pools = planPools(toml?.pools ?? [], merged.volumes, merged.renamed, leftToSystem);
  const rootMount = merged.volumes.some((volume) => volume.isRoot) ? planRootMount(kernel, fstab) : undefined;
  const problems = [toml, kernel, fstab, crypttab, found, merged, pools].flatMap((part) => part?.problems ?? []);
  return {
    plan: {
      enabled: kernel.enabled ?? true,
      debug: kernel.debug ?? false,
      promptAfter: kernel.promptAfter ?? toml?.promptAfter ?? planDefaults.promptAfter,
      deviceTimeout: toml?.deviceTimeout ?? planDefaults.deviceTimeout,
      memberTimeout: toml?.memberTimeout ?? planDefaults.memberTimeout,
      policy: {
        requireEncrypted: toml?.requireEncrypted ?? true,
        allowDegraded: (toml?.allowDegraded ?? false) || (rootMount !== undefined && mountsDegraded(rootMount)),
        ...(toml?.sealPcrAfterUnlock === undefined ? {} : { sealPcrAfterUnlock: toml.sealPcrAfterUnlock }),
      },
      volumes: merged.volumes.map((volume) => planVolume(volume, toml?.requireEncrypted, tokens)),
      pools: pools.pools,
      leftToSystem,
      ...(toml?.tpm === undefined ? {} : { tpm: toml.tpm }),
      ...(rootMount === undefined ? {} : { rootMount }),
      warnings: problems.map(problemLine),
    },
    problems,
  };
}

function planVolume(volume: Candidate, requireEncrypted: boolean | undefined, tokens: ReadonlySet<string>): VolumePlan {
  const { name, kind, certainty, devices, isRoot, isConfigured, origin } = volume;
  const sources = volume.sources ?? (tokens.has(name) ? tokenThenPrompt : promptOnly);
  // A policy that is written down holds for what latchkey finds by itself, too; the default cannot.
  return {
    name,
    kind,
    certainty,
    devices,
    sources,
    isRoot,
    requireEncrypted: requireEncrypted ?? isConfigured,
    origin,
  };
}

/** Where nothing is said of sources and a token lies there. */
const tokenThenPrompt: readonly SourcePlan[] = [{ kind: "clevis", timeout: clevisTimeout }, ...promptOnly];

function leftByCrypttab(crypttab: Crypttab | undefined): readonly LeftToSystem[] {
  return (crypttab?.entries ?? []).map(({ name, line }) => ({
    name,
    reason: "this version of latchkey does not open what crypttab names",
    origin: { file: crypttab?.file ?? "crypttab", line },
  }));
}

/** Of two statements with one name the first counts, as everywhere. */
function listLeft(all: readonly LeftToSystem[]): readonly LeftToSystem[] {
  return all.filter((left, index) => all.findIndex(({ name }) => name === left.name) === index);
}

function planPools(
  pools: readonly PoolPlan[],
  volumes: readonly Candidate[],
  renamed: ReadonlyMap<string, string>,
  leftToSystem: readonly LeftToSystem[],
): { readonly pools: readonly PoolPlan[]; readonly problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const poolOf = new Map<string, string>();
  const planned = pools.flatMap((pool) => {
    const wrong = (key: string, text: string): void => {
      problems.push({ severity: "error", code: "config/invalid-value", origin: pool.origin, key, text });
    };
    const key = `pools.${pool.name}.volumes`;
    if (volumes.some((volume) => volume.name === pool.name)) {
      wrong(`pools.${pool.name}`, "a volume has this name, too: commands could not tell them apart");
    }
    const members = new Set<string>();
    for (const written of pool.volumes) {
      const isThere = volumes.some((volume) => volume.name === written);
      const name = isThere ? written : (renamed.get(written) ?? written);
      const otherPool = poolOf.get(name);
      if (leftToSystem.some((left) => left.name === name)) wrong(key, `volume "${name}" is left to the system`);
      else if (!volumes.some((volume) => volume.name === name)) wrong(key, `there is no volume ${quoted(written)}`);
      else if (otherPool !== undefined) wrong(key, `volume "${name}" is in pool "${otherPool}" already`);
      else members.add(name);
    }
    for (const name of members) poolOf.set(name, pool.name);
    return members.size === 0 ? [] : [{ ...pool, volumes: [...members] }];
  });
  return { pools: planned, problems };
}
