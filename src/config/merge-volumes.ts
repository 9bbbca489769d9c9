import { areBothUuids, isSameReference, printDeviceReference, withoutRepeats } from "./device-reference.ts";
import type { DeviceReference, LuksPlan } from "./plan.ts";
import { type Problem, printOrigin } from "./problems.ts";
import type { StatedVolume } from "./toml-volumes.ts";
import { uniqueName } from "./volume-name.ts";

/** A statement about a volume, on its way to one plan. */
export interface Candidate extends StatedVolume {
  readonly isRoot: boolean;
  readonly isForInitrd?: boolean;
  /** Somebody wrote it down for latchkey; otherwise latchkey found it by itself. */
  readonly isConfigured: boolean;
  /** Present where crypttab or `rd.luks.*` names it: who makes the mapping there. */
  readonly opener?: LuksPlan["opener"];
  readonly isOnDemand?: boolean;
}

export interface MergedVolumes {
  /** One whose devices were all mistyped has none. */
  readonly volumes: readonly Candidate[];
  /** For each name that was given up because two names meant one device: the name that stayed. */
  readonly renamed: ReadonlyMap<string, string>;
  readonly problems: readonly Problem[];
}

/**
 * One volume for each thing to open, from statements in order of precedence: the first gives name, kind and devices, the later
 * ones what is missing. Statements are about one volume when they share a device; when two places of the configuration give
 * it one name; and when latchkey would give what it found the name of a volume that is configured, unless their UUIDs show
 * that they differ: `root=/dev/sda2` and a volume "root" with `UUID=…` are taken to be the same.
 */
export function mergeVolumes(candidates: readonly Candidate[]): MergedVolumes {
  let volumes: readonly Candidate[] = [];
  const renamed = new Map<string, string>();
  const problems: Problem[] = [];
  for (const candidate of candidates) {
    const known = sameVolumes(volumes, candidate);
    const [first, ...others] = known;
    if (first === undefined) {
      const name = uniqueName(candidate.name, (taken) => volumes.some((volume) => volume.name === taken));
      volumes = [...volumes, { ...candidate, name }];
      continue;
    }
    let merged = first;
    // The new one first: it is what the others have in common.
    for (const other of [candidate, ...others]) {
      if (other.isConfigured && other.name !== merged.name) {
        renamed.set(other.name, merged.name);
        problems.push(twoNames(merged, other));
      }
      problems.push(...contradictions(merged, other));
      merged = together(merged, other);
    }
    volumes = volumes
      .filter((volume) => !others.includes(volume))
      .map((volume) => (volume === first ? merged : volume));
  }
  return { volumes, renamed, problems };
}

function sameVolumes(volumes: readonly Candidate[], candidate: Candidate): readonly Candidate[] {
  const byDevice = volumes.filter((volume) => sharesDevice(volume.devices, candidate.devices));
  const byName = volumes.filter(
    (volume) => volume.isConfigured && volume.name === candidate.name && !areOfDifferentKinds(volume, candidate),
  );
  if (candidate.isConfigured && !byName.every((volume) => byDevice.includes(volume))) return byName;
  if (byDevice.length > 0) return byDevice;
  return byName.filter((volume) => !areKnownToDiffer(volume.devices, candidate.devices));
}

/** What is named as a LUKS volume in crypttab is one: another kind by that name is something else, inside of it perhaps. */
function areOfDifferentKinds(one: Candidate, other: Candidate): boolean {
  if (one.opener === undefined && other.opener === undefined) return false;
  return one.kind !== other.kind && one.certainty === "stated" && other.certainty === "stated";
}

function together(first: Candidate, second: Candidate): Candidate {
  const sources = first.sources ?? second.sources;
  const luks = first.opener === undefined ? { ...second.luks, ...first.luks } : first.luks;
  return {
    ...first,
    certainty: first.certainty === "stated" ? "stated" : second.certainty,
    devices: devicesOf(first, second),
    isRoot: first.isRoot || second.isRoot,
    isForInitrd: first.isForInitrd === true || second.isForInitrd === true,
    isConfigured: first.isConfigured || second.isConfigured,
    ...(first.kind === "luks" && luks ? { luks } : {}),
    ...(sources === undefined ? {} : { sources }),
  };
}

/** What the system's files say of a mapping holds; what the configuration says besides must not go unheard. */
function contradictions(first: Candidate, second: Candidate): readonly Problem[] {
  if (first.opener === undefined) return [];
  const where = printOrigin(first.origin);
  const problem = (key: string, text: string): Problem => ({
    severity: second.isConfigured ? "error" : "warning",
    code: "config/invalid-value",
    origin: second.origin,
    ...(second.isConfigured ? { key: `volumes.${second.name}.${key}` } : {}),
    text,
  });
  if (areOfDifferentKinds(first, second)) return [problem("kind", `${where} has this device as LUKS, and that counts`)];
  if (!second.isConfigured) return [];
  const [stated] = first.devices;
  return [
    ...(stated && areKnownToDiffer(first.devices, second.devices)
      ? [problem("device", `it is ${printDeviceReference(stated)} in ${where}, and that counts`)]
      : []),
    ...(Object.keys(second.luks ?? {}).length > 0
      ? [problem("luks", `${where} names this volume, so what is to be said of it belongs there`)]
      : []),
  ];
}

/** A volume whose devices were all mistyped gets those that latchkey found under its name, and keeps its sources. */
function devicesOf(first: Candidate, second: Candidate): readonly DeviceReference[] {
  if (first.devices.length === 0) return second.devices;
  // A UUID beside the path of crypttab is what the header there has to have.
  const isSaidTwice = first.kind === "luks" && !areKnownToDiffer(first.devices, second.devices);
  if (!isSaidTwice && !sharesDevice(first.devices, second.devices)) return first.devices;
  return withoutRepeats([...first.devices, ...second.devices]);
}

function sharesDevice(some: readonly DeviceReference[], others: readonly DeviceReference[]): boolean {
  return some.some((one) => others.some((other) => isSameReference(one, other)));
}

function areKnownToDiffer(some: readonly DeviceReference[], others: readonly DeviceReference[]): boolean {
  return some.some((one) => others.some((other) => areBothUuids(one, other) && !isSameReference(one, other)));
}

function twoNames(first: Candidate, second: Candidate): Problem {
  const shared = first.devices.find((one) => second.devices.some((other) => isSameReference(one, other)));
  const device = shared === undefined ? "the same device" : printDeviceReference(shared);
  return {
    severity: "warning",
    code: "config/invalid-value",
    origin: second.origin,
    text: `volumes "${first.name}" and "${second.name}" both name ${device}: taken as one, "${first.name}"`,
  };
}
