import { usualFormat } from "../config/key-sources.ts";
import type { KeyFilePlan, KeyFormat, Plan, SourcePlan, UsbPlan, VaultPlan } from "../config/plan.ts";
import { KeyFileSource } from "../sources/keyfile/keyfile-source.ts";
import type { Source } from "../sources/source.ts";
import { ChildKeyReader } from "../sources/usb/child-reader.ts";
import { StickWatch } from "../sources/usb/stick-watch.ts";
import { SystemSticks } from "../sources/usb/sticks.ts";
import { UsbSource } from "../sources/usb/usb-source.ts";
import { VaultSource } from "../sources/vault/vault-source.ts";
import { monotonicClock } from "../system/clock.ts";

/** A key file, and every volume that it may open: it is read once for all of them. */
interface Wanted<P extends SourcePlan> {
  readonly plan: P;
  readonly format: KeyFormat;
  readonly volumes: readonly string[];
}

/** The sticks of the plan. What they share ends with the scope. */
export function usbSources(plan: Plan, scope: AsyncDisposableStack): readonly Source[] {
  const wanted = wantedFiles<UsbPlan>(plan, "usb");
  if (wanted.length === 0) return [];
  const reader = scope.use(new ChildKeyReader());
  const sticks = new SystemSticks();
  const shared = { reader, sticks, watch: new StickWatch(sticks, reader), clock: monotonicClock };
  return wanted.map(({ plan: stick, format, volumes }) => new UsbSource({ stick, format, volumes, ...shared }));
}

export function keyFileSources(plan: Plan): readonly Source[] {
  return wantedFiles<KeyFilePlan>(plan, "keyfile").map(
    ({ plan: file, format, volumes }) => new KeyFileSource({ file, format, volumes }),
  );
}

export function vaultSources(plan: Plan, scope: AsyncDisposableStack): readonly Source[] {
  const wanted = wantedFiles<VaultPlan>(plan, "vault");
  if (wanted.length === 0) return [];
  const reader = scope.use(new ChildKeyReader());
  const shared = { reader, clock: monotonicClock, deviceOf: (volume: string) => `/dev/mapper/${volume}` };
  return wanted.map(({ plan: vault, format, volumes }) => new VaultSource({ vault, format, volumes, ...shared }));
}

/** Each different file once, with its volumes. Of different time limits the longest holds. */
function wantedFiles<P extends UsbPlan | KeyFilePlan | VaultPlan>(plan: Plan, kind: P["kind"]): readonly Wanted<P>[] {
  const byFile = new Map<string, Wanted<P>>();
  for (const { name, kind: volumeKind, sources } of plan.volumes) {
    for (const source of sources) {
      if (source.kind !== kind) continue;
      const own = source as P;
      const format = own.format ?? usualFormat(volumeKind);
      const file = JSON.stringify({ ...own, format, timeout: undefined });
      const before = byFile.get(file);
      byFile.set(file, {
        plan: before ? longer(before.plan, own) : own,
        format,
        volumes: [...(before?.volumes ?? []), name],
      });
    }
  }
  return [...byFile.values()];
}

function longer<P extends UsbPlan | KeyFilePlan | VaultPlan>(one: P, other: P): P {
  return "timeout" in one && "timeout" in other && other.timeout > one.timeout ? other : one;
}
