import { resolve } from "node:path";
import { parseCrypttab } from "../config/crypttab.ts";
import { parseDeviceReference } from "../config/device-reference.ts";
import { usualToken } from "../config/load.ts";
import type { DeviceReference, Plan, VolumePlan } from "../config/plan.ts";
import { readTextFile } from "../config/read-text.ts";
import type { Target } from "../enroll/target.ts";
import { inspectPlace } from "../enroll/token-store.ts";
import { runCryptsetup } from "../providers/luks/cryptsetup.ts";
import { Luks2Device } from "../providers/luks/luks2-device.ts";
import { freeSlot, freeToken, luksVersion, tokensOfType } from "../providers/luks/luks2-header.ts";
import type { FoundVolume } from "../providers/provider.ts";
import { referenceText, SystemBlockDevices } from "../system/block-devices.ts";
import { LatchkeyError } from "../system/errors.ts";
import { lookAt } from "./look.ts";
import { planFor } from "./volume-argument.ts";

const CRYPTTAB = "/etc/crypttab";

/**
 * The one volume that somebody named: of the configuration, of crypttab, or a device. What it is, its first octets tell.
 * @param token where the token shall lie instead of its usual place
 * @throws LatchkeyError
 */
export async function findTarget(argument: string, plan: Plan, token: string | undefined): Promise<Target> {
  const volume = chooseVolume(argument, plan);
  const devices = "volume" in volume ? headersOf(volume.volume) : [volume.device];
  const { path, version } = await luksOn(devices);
  if (path !== undefined && version !== undefined) return await luksTarget(argument, path, version, token);
  if ("volume" in volume && volume.volume.kind !== "luks") return await bcachefsTarget(volume.volume, plan, token);
  if (path === undefined) {
    throw new LatchkeyError("device/missing", `${argument}: ${devices.map(referenceText).join(", ")} is not there`);
  }
  throw new LatchkeyError("luks/not-luks2", `${argument}: ${path} has no LUKS header`);
}

/** The same for a stick, which is no token: a bcachefs has no place for one then. */
export async function findStickTarget(argument: string, plan: Plan): Promise<Target> {
  const chosen = chooseVolume(argument, plan);
  const isLuks =
    !("volume" in chosen) ||
    chosen.volume.kind === "luks" ||
    (await luksOn(chosen.volume.devices)).version !== undefined;
  return await findTarget(argument, plan, isLuks ? undefined : usualToken(argument.replaceAll("/", "-")));
}

type Chosen = { readonly volume: VolumePlan } | { readonly device: DeviceReference };

function chooseVolume(argument: string, plan: Plan): Chosen {
  const isConfigured = plan.volumes.some(({ name }) => name === argument);
  const entry = isConfigured
    ? undefined
    : parseCrypttab(readTextFile(CRYPTTAB) ?? "", CRYPTTAB).entries.find(({ name }) => name === argument);
  if (entry) return { device: entry.device };
  const part = planFor(argument, plan);
  const volume = part.volumes.find(({ name }) => name === argument);
  if (volume) return { volume };
  throw new LatchkeyError("usage/invalid", `${argument} is a pool, and a token is for one volume`, {
    hint: `name one of ${part.volumes.map(({ name }) => name).join(", ")}`,
  });
}

/** A key slot and its token go into the header, wherever that is. */
function headersOf({ devices, luks }: VolumePlan): readonly DeviceReference[] {
  const detached = luks?.header === undefined ? undefined : parseDeviceReference(luks.header);
  return detached && "value" in detached ? [detached.value] : devices;
}

/** The first of the devices that is there, and which LUKS is on it. */
async function luksOn(references: readonly DeviceReference[]): Promise<{ path?: string; version?: number }> {
  const devices = new SystemBlockDevices();
  for (const reference of references) {
    const path = await devices.resolve(reference);
    if (path === undefined) continue;
    await using reader = await devices.open(path);
    const version = await luksVersion(reader);
    return version === undefined ? { path } : { path, version };
  }
  return {};
}

async function luksTarget(name: string, path: string, version: number, token: string | undefined): Promise<Target> {
  if (version !== 2) {
    throw new LatchkeyError("luks/not-luks2", `${name}: ${path} has a LUKS${version} header, which holds no tokens`, {
      hint: "`cryptsetup convert --type luks2` makes it LUKS2, with the volume closed and the header backed up before",
    });
  }
  if (token !== undefined) {
    throw new LatchkeyError("usage/invalid", "--token is for bcachefs: in LUKS2 the token lies in the header");
  }
  const device = new Luks2Device(path, runCryptsetup);
  const metadata = await device.metadata();
  return {
    kind: "luks2",
    facts: { kind: "luks2", name, device: path, slot: freeSlot(metadata, path), id: freeToken(metadata, path) },
    device,
    boundSlots: tokensOfType(metadata, "clevis").flatMap(({ slots }) => slots),
  };
}

async function bcachefsTarget(volume: VolumePlan, plan: Plan, token: string | undefined): Promise<Target> {
  const [looked] = await lookAt({ ...plan, volumes: [volume], pools: [] });
  if (!looked || "error" in looked) throw looked?.error;
  const { found } = looked;
  if (found.state !== "closed" && found.state !== "open") {
    throw new LatchkeyError(
      "bcachefs/not-encrypted",
      `${volume.name}: ${found.description} has no passphrase that a token could hold`,
    );
  }
  const place = token === undefined ? await placeOfToken(volume, found, plan) : resolve(token);
  return {
    kind: "bcachefs",
    facts: {
      kind: "bcachefs",
      name: volume.name,
      description: found.description,
      token: place,
      tokenExists: inspectPlace(place),
    },
    volume: found,
  };
}

/** Where the boot will look for it. A device named by hand is looked for among the volumes of the configuration. */
async function placeOfToken(volume: VolumePlan, found: FoundVolume, plan: Plan): Promise<string> {
  const isConfigured = plan.volumes.some(({ name }) => name === volume.name);
  const known = isConfigured
    ? volume
    : (await lookAt(plan)).find((other) => "found" in other && other.found.uuid === found.uuid)?.volume;
  if (known) return tokenOf(known);
  throw new LatchkeyError(
    "usage/invalid",
    `${volume.name} is no volume of the configuration, so nothing would look for a token of it`,
    {
      hint: "write it into /etc/latchkey/latchkey.toml and enroll it by its name, or say with --token where the token shall lie",
    },
  );
}

/** The file that a volume's token is, or would be, read from. */
export function tokenOf({ name, sources }: VolumePlan): string {
  const clevis = sources.find((source) => source.kind === "clevis");
  return clevis?.token ?? usualToken(name);
}
