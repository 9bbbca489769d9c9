import type { Crypttab } from "./crypttab.ts";
import { findVolumes } from "./found-volumes.ts";
import type { Fstab } from "./fstab.ts";
import type { KernelCommandLine } from "./kernel-command-line.ts";
import { type LuksParameters, parseLuksParameters } from "./luks-parameters.ts";
import {
  fromHeader,
  headerThenPrompt,
  missingDevices,
  planLuks,
  withPoolsOnDemand,
  withRootMapping,
} from "./luks-plan.ts";
import { type Candidate, mergeVolumes } from "./merge-volumes.ts";
import { quoted } from "./parsed.ts";
import type { LeftToSystem, Plan, PoolPlan, SourcePlan, VolumePlan } from "./plan.ts";
import { type Problem, problemLine } from "./problems.ts";
import { mountsDegraded, planRootMount } from "./root-mount.ts";
import { clevisTimeout } from "./source-registry.ts";
import { type MachineFacts, planSystemLuks, type SystemVolume, splitLeft } from "./system-luks.ts";
import type { TomlConfiguration } from "./toml.ts";
import { remoteDefaults } from "./toml-remote.ts";
import { promptOnly } from "./toml-sources.ts";
import { vaultProblems } from "./vaults.ts";

/** What holds when nobody says otherwise, in milliseconds. docs/configuration.md names them. */
const planDefaults = {
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
  readonly luksParameters?: LuksParameters;
  readonly machine?: MachineFacts;
}

/** A system that is up, and where nothing of systemd is to be reckoned with. */
const noInitrd: MachineFacts = { inInitrd: false, runsSystemd: false };

export interface MadePlan {
  readonly plan: Plan;
  /** What `plan.warnings` says, with severity: whoever must not go on with errors looks here. */
  readonly problems: readonly Problem[];
}

/** One plan from all places. The kernel command line wins over latchkey.toml, that over what latchkey finds by itself. */
export function makePlan({
  kernel,
  toml,
  fstab,
  crypttab,
  tokens = new Set(),
  machine = noInitrd,
  luksParameters = parseLuksParameters("", machine.inInitrd),
}: PlanInput): MadePlan {
  const found = findVolumes(kernel, fstab);
  const system = planSystemLuks(crypttab, luksParameters, machine);
  const fromToml = splitLeft(toml?.volumes ?? [], system);
  const overruled = new Set(kernel.leftToSystem.map((left) => left.name));
  const { volumes: all, ...merged } = mergeVolumes([
    // First: the system's own files are the truth, and name the mapping.
    ...system.volumes.map((volume) => ({
      ...volume,
      isRoot: false,
      isConfigured: true,
      isForInitrd: isAwaited(volume),
    })),
    ...kernel.volumes.map((volume) => ({ ...volume, isRoot: false, isConfigured: true })),
    ...fromToml.volumes
      .filter((volume) => !overruled.has(volume.name))
      .map((volume) => ({ ...volume, isRoot: false, isConfigured: true })),
    ...found.volumes.map((volume) => ({ ...volume, isConfigured: false })),
  ]);
  const candidates = withRootMapping(
    all.filter(({ devices }) => devices.length > 0),
    kernel,
    fstab,
  );
  const leftToSystem = listLeft([
    ...kernel.leftToSystem,
    ...(toml?.leftToSystem ?? []),
    ...system.leftToSystem,
    ...fromToml.leftToSystem,
  ]).filter(({ name }) => !candidates.some((volume) => volume.name === name));
  const pools = planPools(toml?.pools ?? [], candidates, merged.renamed, leftToSystem);
  const rootMount = candidates.some((volume) => volume.isRoot) ? planRootMount(kernel, fstab) : undefined;
  const fromAfar: readonly SourcePlan[] = toml?.remote === undefined ? [] : [{ kind: "remote" }];
  const volumes = withPoolsOnDemand(candidates, pools.pools).map((volume) =>
    planVolume(volume, toml?.requireEncrypted, tokens, fromAfar),
  );
  const isRemote = volumes.some(({ sources }) => sources.some(({ kind }) => kind === "remote"));
  // The table alone will do: who builds an image may not see the volumes of the machine that boots it.
  const remote = toml?.remote ?? (isRemote ? remoteDefaults : undefined);
  const problems = [
    ...[toml, kernel, fstab, crypttab, luksParameters, system, fromToml, found, merged, pools].flatMap(
      (part) => part?.problems ?? [],
    ),
    ...missingDevices(all, machine).filter(({ key }) => !toml?.problems.some((problem) => problem.key === key)),
    ...vaultProblems(volumes),
  ];
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
      volumes,
      pools: pools.pools,
      leftToSystem,
      ...(remote === undefined ? {} : { remote }),
      ...(toml?.tpm === undefined ? {} : { tpm: toml.tpm }),
      ...(rootMount === undefined ? {} : { rootMount }),
      warnings: problems.map(problemLine),
    },
    problems,
  };
}

function planVolume(
  volume: Candidate,
  requireEncrypted: boolean | undefined,
  tokens: ReadonlySet<string>,
  fromAfar: readonly SourcePlan[],
): VolumePlan {
  const { name, kind, certainty, devices, isRoot, isForInitrd, isConfigured, isOnDemand, origin } = volume;
  const usual = kind === "luks" ? headerThenPrompt : promptOnly;
  const sources = volume.sources ?? [...(tokens.has(name) ? tokenThenPrompt : usual), ...fromAfar];
  // A policy that is written down holds for what latchkey finds by itself, too; the default cannot.
  return {
    name,
    kind,
    certainty,
    devices,
    sources: kind === "luks" && !tokens.has(name) ? sources.map(fromHeader) : sources,
    isRoot,
    ...(isForInitrd === true ? { isForInitrd } : {}),
    requireEncrypted: requireEncrypted ?? isConfigured,
    ...(kind === "luks" ? { luks: planLuks(volume) } : {}),
    ...(isOnDemand === true ? { isOnDemand } : {}),
    origin,
  };
}

/**
 * The initrd's crypttab has what the initrd needs, unless its options say that a boot goes on without it, or that it comes over a
 * network: what the initrd is to have of those is marked so.
 */
function isAwaited({ luks, isOnDemand }: SystemVolume): boolean {
  if (luks?.needsNetwork === true && luks.isWantedInInitrd !== true) return false;
  return !isOnDemand && luks?.mayFail !== true;
}

/** Where nothing is said of sources and a token lies there. */
const tokenThenPrompt: readonly SourcePlan[] = [{ kind: "clevis", timeout: clevisTimeout }, ...promptOnly];

/** Of two statements with one name the first counts, as everywhere. */
function listLeft(all: readonly LeftToSystem[]): readonly LeftToSystem[] {
  return all
    .filter((left, index) => all.findIndex(({ name }) => name === left.name) === index)
    .map(({ name, reason, origin }) => ({ name, reason, origin }));
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
