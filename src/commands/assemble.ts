import type { Plan, SourceKind, VolumeKind } from "../config/plan.ts";
import { kernelKeyring } from "../keyutils-ffi/keyring.ts";
import { WorkerKeyDeriver } from "../providers/bcachefs/derive.ts";
import type { Destination } from "../providers/bcachefs/keys.ts";
import { BcachefsProvider } from "../providers/bcachefs/provider.ts";
import type { Provider } from "../providers/provider.ts";
import { PromptSource } from "../sources/prompt/prompt-source.ts";
import { chooseWays, openWay, readMachineFacts } from "../sources/prompt/ways.ts";
import type { Source } from "../sources/source.ts";
import { SystemBlockDevices } from "../system/block-devices.ts";
import { monotonicClock } from "../system/clock.ts";

/** The providers of this machine, over the real devices and the kernel's keyrings. */
export function assembleProviders(options: { keyring?: Destination } = {}): ReadonlyMap<VolumeKind, Provider> {
  const bcachefs = new BcachefsProvider({
    devices: new SystemBlockDevices(),
    keyring: kernelKeyring,
    destination: options.keyring ?? "user",
    deriver: new WorkerKeyDeriver(),
    clock: monotonicClock,
  });
  return new Map([[bcachefs.kind, bcachefs]]);
}

type MakeSource = (plan: Plan) => readonly Source[];

/** How each kind of source is made from the plan; a source that joins adds its entry. */
const makers: Partial<Record<SourceKind, MakeSource>> = {
  prompt: (plan) => {
    const volumes = volumesWith(plan, "prompt");
    if (volumes.length === 0) return [];
    return [new PromptSource({ volumes, ways: chooseWays(readMachineFacts()), openWay, clock: monotonicClock })];
  },
};

/** The sources the plan names. */
export function assembleSources(plan: Plan): readonly Source[] {
  return Object.values(makers).flatMap((make) => make(plan));
}

function volumesWith(plan: Plan, kind: SourceKind): readonly string[] {
  return plan.volumes.filter((volume) => volume.sources.some((source) => source.kind === kind)).map(({ name }) => name);
}
