import { isAbsolute, resolve } from "node:path";
import { isSameReference, parseDeviceReference } from "../config/device-reference.ts";
import type { DeviceReference, Plan, PoolPlan } from "../config/plan.ts";
import { SystemBlockDevices } from "../system/block-devices.ts";
import { LatchkeyError } from "../system/errors.ts";
import type { Candidate, Holding } from "../unlock/membership.ts";
import { isAbsence } from "../unlock/searching.ts";
import { type Looked, lookAt } from "./look.ts";
import { planFor } from "./volume-argument.ts";

/** What is about to happen to a pool. */
export interface Operation {
  /** Names or devices that are to become members. */
  readonly adding: readonly string[];
  /** A member, by its name or device, whose place another is to take. */
  readonly replacing: string | undefined;
}

/** A candidate and what was seen of it. */
export interface LookedCandidate {
  readonly candidate: Candidate;
  readonly looked: Looked;
}

/**
 * The members of a pool and the devices that are to join it, as they are now. Waits for none and touches no secret.
 * @param members the plan of the pool alone
 * @throws LatchkeyError usage/unknown-volume when `replacing` names none of them
 */
export async function poolCandidates(
  pool: PoolPlan,
  members: Plan,
  whole: Plan,
  { adding, replacing }: Operation,
): Promise<readonly LookedCandidate[]> {
  const looked = await lookAt(members);
  const leaving = replacing === undefined ? undefined : await memberNamed(replacing, pool, looked);
  const entering = await Promise.all(adding.map(async (argument) => await lookAt(enteringPlan(argument, whole))));
  return [
    ...looked.map((one) => candidateOf(one, one === leaving ? "leaving" : "member")),
    ...entering.flat().map((one) => candidateOf(one, "entering")),
  ];
}

/** One volume only, also when it is in a pool: that is for planMembership() to object to. */
function enteringPlan(argument: string, whole: Plan): Plan {
  const configured = whole.volumes.filter(({ name }) => name === argument);
  return configured.length > 0
    ? { ...whole, volumes: configured, pools: [] }
    : planFor(argument, { ...whole, pools: [] });
}

function candidateOf(looked: Looked, role: Candidate["role"]): LookedCandidate {
  const { name, requireEncrypted } = looked.volume;
  return { looked, candidate: { name, role, requireEncrypted, holds: holding(looked, role) } };
}

function holding(looked: Looked, role: Candidate["role"]): Holding {
  if ("error" in looked) {
    const { error } = looked;
    if (isAbsence(error)) return { kind: "absent", error };
    return role === "entering" && error.code === "bcachefs/not-bcachefs"
      ? { kind: "fresh", why: "it holds neither LUKS nor bcachefs" }
      : { kind: "wrong", error };
  }
  const { uuid, devices, state, description } = looked.found;
  return role === "entering" && state === "unencrypted"
    ? { kind: "fresh", why: "it holds no encryption" }
    : { kind: "volume", uuid, devices, state, description };
}

async function memberNamed(argument: string, pool: PoolPlan, looked: readonly Looked[]): Promise<Looked> {
  const byName = looked.find(({ volume }) => volume.name === argument);
  if (byName) return byName;
  const reference = referenceOf(argument);
  const path = reference && (await new SystemBlockDevices().resolve(reference).catch(() => undefined));
  const member = looked.find((one) => reference && isAt(one, reference, path));
  if (member) return member;
  throw new LatchkeyError("usage/unknown-volume", `--replacing ${argument}: pool ${pool.name} has no such member`, {
    hint: `its members are ${pool.volumes.join(", ")}`,
  });
}

function isAt(looked: Looked, reference: DeviceReference, path: string | undefined): boolean {
  if (looked.volume.devices.some((device) => isSameReference(device, reference))) return true;
  if (!("found" in looked)) return false;
  if (path !== undefined && looked.found.devices.includes(path)) return true;
  return reference.by === "tag" && reference.tag === "UUID" && looked.found.uuid === reference.value.toLowerCase();
}

function referenceOf(argument: string): DeviceReference | undefined {
  const isTag = /^[A-Z]+=/.test(argument);
  const parsed = parseDeviceReference(isTag || isAbsolute(argument) ? argument : resolve(argument));
  return "value" in parsed ? parsed.value : undefined;
}
