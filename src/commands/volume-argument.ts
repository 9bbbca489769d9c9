import { existsSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { isSameReference, parseDeviceReference } from "../config/device-reference.ts";
import { headerThenPrompt, planLuks } from "../config/luks-plan.ts";
import type { DeviceReference, LuksPlan, Plan, VolumePlan } from "../config/plan.ts";
import { printOrigin } from "../config/problems.ts";
import { promptOnly } from "../config/toml-sources.ts";
import { vaultsOf } from "../config/vaults.ts";
import { LatchkeyError } from "../system/errors.ts";
import { type DeviceKind, kindOnDevice } from "./device-kind.ts";

/**
 * The part of the plan that a person named on the command line: a volume, with the pool it belongs to; a pool; or else a
 * device (`UUID=…` or a path), which becomes a volume of its own with a question as its source, and what tokens lie in its
 * header.
 * @param kind what kindWithoutLink() has found of such a device
 * @throws LatchkeyError usage/unknown-volume
 */
export function planFor(argument: string, whole: Plan, kind?: DeviceKind): Plan {
  const { rootMount, ...plan } = { ...whole, leftToSystem: [] };
  const pools = plan.pools.filter(({ name, volumes }) => name === argument || volumes.includes(argument));
  const names = new Set([argument, ...pools.flatMap(({ volumes }) => volumes)]);
  const known = plan.volumes.filter(({ name }) => names.has(name));
  if (known.length === 0) {
    // Any member of a bcachefs opens it, and whoever names one device has said which.
    const policy = { ...plan.policy, allowDegraded: true };
    return { ...plan, policy, volumes: [volumeAt(argument, whole, kind)], pools: [] };
  }
  const hasRoot = rootMount !== undefined && known.some(({ isRoot }) => isRoot);
  return { ...plan, volumes: known, pools, ...(hasRoot ? { rootMount } : {}) };
}

/** The part with the vaults that hold its keys, and those that hold theirs: what its own sources need. */
export function withVaults(part: Plan, whole: Plan): Plan {
  const names = new Set(part.volumes.map(({ name }) => name));
  for (const volume of part.volumes) {
    for (const waiting = [...vaultsOf(volume)]; waiting.length > 0; ) {
      const vault = whole.volumes.find(({ name }) => name === waiting[0]);
      waiting.shift();
      if (!vault || names.has(vault.name)) continue;
      names.add(vault.name);
      waiting.push(...vaultsOf(vault));
    }
  }
  const vaults = whole.volumes.filter(({ name }) => names.has(name) && !part.volumes.some((own) => own.name === name));
  return { ...part, volumes: [...part.volumes, ...vaults] };
}

function volumeAt(argument: string, plan: Plan, known: DeviceKind | undefined): VolumePlan {
  const isTag = /^[A-Z]+=/.test(argument);
  if (!isTag && !argument.includes("/")) throw unknownVolume(argument, plan);
  const parsed = parseDeviceReference(isTag || isAbsolute(argument) ? argument : resolve(argument));
  if ("problem" in parsed) throw new LatchkeyError("usage/unknown-volume", `${argument}: ${parsed.problem}`);
  const { kind, uuid } = known ?? kindOnDevice(parsed.value);
  return {
    name: argument,
    kind,
    certainty: "stated",
    devices: [parsed.value],
    sources: kind === "luks" ? headerThenPrompt : promptOnly,
    ...(kind === "luks" ? { luks: luksAt(parsed.value, uuid, plan) } : {}),
    isRoot: false,
    requireEncrypted: false,
    origin: { file: "command line" },
  };
}

/** What is said of the device elsewhere holds here, too: the options of its mapping, and the mapping's name. */
function luksAt(reference: DeviceReference, uuid: string | undefined, { volumes }: Plan): LuksPlan {
  const isSame = (device: DeviceReference): boolean =>
    isSameReference(device, reference) || (device.by === "tag" && device.tag === "UUID" && device.value === uuid);
  const known = volumes.find(({ luks, devices }) => luks && devices.some(isSame));
  if (!known?.luks) return { ...planLuks({}), isUnnamed: true };
  return { ...known.luks, opener: "latchkey", mapping: known.name };
}

function unknownVolume(argument: string, plan: Plan): LatchkeyError {
  const left = plan.leftToSystem.find(({ name }) => name === argument);
  if (left)
    return new LatchkeyError("usage/unknown-volume", `${argument}: ${left.reason} (${printOrigin(left.origin)})`);
  const known = [...plan.volumes, ...plan.pools].map(({ name }) => name).join(", ");
  const device =
    argument !== "" && existsSync(argument)
      ? `the file here is ./${argument}`
      : "a device is named by its path or as UUID=…";
  return new LatchkeyError(
    "usage/unknown-volume",
    argument === "" ? "the name of the volume is empty" : `there is no volume or pool named ${argument}`,
    { hint: `${known === "" ? "none are configured" : `known are ${known}`}; ${device}` },
  );
}
