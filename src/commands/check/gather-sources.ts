import { usualToken } from "../../config/load.ts";
import type { KeyFilePlan, Plan, SourcePlan, UsbPlan, VolumePlan } from "../../config/plan.ts";
import type { Provider } from "../../providers/provider.ts";
import { machineReadiness, type ReadinessMeans, tokenReadiness } from "../../sources/clevis/readiness.ts";
import { parseToken } from "../../sources/clevis/token.ts";
import type { FoundToken } from "../../sources/clevis/token-file.ts";
import type { Stick } from "../../sources/usb/sticks.ts";
import type { Files } from "../../stacks/files.ts";
import type { BlockDevices } from "../../system/block-devices.ts";
import type { Clock } from "../../system/clock.ts";
import type { Gathered, KeyFileState, SeenDevice, SourceFacts, TokenState } from "./facts.ts";
import { gathered, gatheredNow } from "./gathered.ts";

/** Milliseconds for all tokens of a source: each share has a limit of its own, too. */
const TOKENS_LIMIT = 60_000;
/** Milliseconds until udev's links are read. */
const STICK_LIMIT = 5_000;
/** Milliseconds until a slow stick has given the largest key. */
const STICK_KEY_LIMIT = 30_000;

type ClevisPlan = Extract<SourcePlan, { readonly kind: "clevis" }>;

/** What the sources are looked at with. */
export interface SourceMeans {
  readonly clock: Clock;
  readonly files: Files;
  readonly devices: BlockDevices;
  /** What sysfs says of a device node. */
  look(path: string): Stick | undefined;
  readToken(path: string): FoundToken;
  /** For the tokens of one source. */
  readiness(source: ClevisPlan): ReadinessMeans & AsyncDisposable;
  /** Reads the key of a stick and compares it with its checksum; absent where nobody may. @throws LatchkeyError */
  readonly proveStick?: (plan: UsbPlan, stick: Stick, signal: AbortSignal) => Promise<void>;
}

/** The machine's TPM and network for one source. */
export function readinessOf({ tpm, policy }: Plan, { authority }: ClevisPlan): ReadinessMeans & AsyncDisposable {
  return machineReadiness({ tcti: tpm, authorityFile: authority, latch: policy.sealPcrAfterUnlock });
}

/** @param volume as it was found: without sources that are not there */
export async function gatherSource(
  source: SourcePlan,
  volume: VolumePlan,
  provider: Provider | undefined,
  means: SourceMeans,
  signal: AbortSignal,
): Promise<SourceFacts> {
  switch (source.kind) {
    case "prompt":
    case "remote":
      return { kind: source.kind };
    case "clevis":
      return { kind: "clevis", tokens: await gatherTokens(source, volume, provider, means, signal) };
    case "usb":
      return { kind: "usb", plan: source, seen: await gatherStick(source, means, signal) };
    case "keyfile":
      return { kind: "keyfile", plan: source, file: gatherKeyFile(source, means) };
    case "vault":
      return { kind: "vault", plan: source };
  }
}

async function gatherTokens(
  source: ClevisPlan,
  volume: VolumePlan,
  provider: Provider | undefined,
  means: SourceMeans,
  signal: AbortSignal,
): Promise<Gathered<readonly TokenState[]>> {
  return await gathered(`the source of tokens for ${volume.name}`, TOKENS_LIMIT, means.clock, signal, async (until) => {
    const tokens =
      source.inHeader === undefined
        ? [means.readToken(source.token ?? usualToken(volume.name))]
        : ((await provider?.headerTokens?.(volume.name, "clevis", until)) ?? []);
    await using readiness = means.readiness(source);
    const states: TokenState[] = [];
    for (const { origin, text } of tokens) {
      const state = await gathered(origin, TOKENS_LIMIT, means.clock, until, async (each) =>
        tokenReadiness(parseToken(text), readiness, each),
      );
      states.push({ origin, readiness: state });
    }
    return states;
  });
}

/** By udev's links; what is no stick is not read. */
async function gatherStick(
  plan: UsbPlan,
  { clock, devices, look, proveStick }: SourceMeans,
  signal: AbortSignal,
): Promise<Gathered<SeenDevice | undefined>> {
  const { place } = plan;
  const [tag, uuid] =
    place.by === "filesystem" ? (["UUID", place.uuid] as const) : (["PARTUUID", place.partuuid] as const);
  const found = await gathered(`the stick ${uuid}`, STICK_LIMIT, clock, signal, async () => {
    // vfat's UUIDs are links in upper case, all others in lower case.
    for (const value of new Set([uuid, uuid.toUpperCase(), uuid.toLowerCase()])) {
      const path = await devices.resolve({ by: "tag", tag, value });
      if (path !== undefined) return { path, stick: look(path) };
    }
    return undefined;
  });
  if ("error" in found) return found;
  if (found.value === undefined) return { value: undefined };
  const { path, stick } = found.value;
  const seen = { path, isRemovable: stick?.isRemovable ?? false };
  if (!stick || !proveStick || !(seen.isRemovable || plan.anyBus)) return { value: seen };
  const key = await gathered(`the key on ${path}`, STICK_KEY_LIMIT, clock, signal, async (until) => {
    await proveStick(plan, stick, until);
    return "right" as const;
  });
  return { value: { ...seen, key } };
}

function gatherKeyFile({ path }: KeyFilePlan, { files }: SourceMeans): Gathered<KeyFileState> {
  return gatheredNow(path, () => {
    const facts = files.facts(path);
    return { isThere: facts !== undefined, isOpenToOthers: facts?.kind === "file" && (facts.mode & 0o077) !== 0 };
  });
}
