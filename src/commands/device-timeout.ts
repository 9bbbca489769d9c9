import { parseDuration } from "../config/duration.ts";
import type { Plan, VolumePlan } from "../config/plan.ts";
import { LatchkeyError } from "../system/errors.ts";

/**
 * The plan of a boot that looks for devices for this long, and again later: initramfs-tools builds some devices out of others
 * between two looks, and gives the root up at a time of its own (30 s, or rootdelay=). A root of which nobody has said that it is
 * a bcachefs may be in a volume that the system opens afterwards: it is not waited for at all.
 *
 * Where a pool may go without a member, that one has member_timeout all the same: a filesystem that was written to without it
 * has to be mended. A limit of nothing at all is for a last look, at which nobody decides such a thing.
 * @throws LatchkeyError usage/invalid
 */
export function withDeviceTimeout(plan: Plan, text: string | undefined): Plan {
  if (text === undefined) return plan;
  const limit = parseDuration(text);
  if ("problem" in limit) throw new LatchkeyError("usage/invalid", `--device-timeout: ${limit.problem}`);
  const capped = (timeout: number): number => Math.min(timeout, limit.value);
  const allowDegraded = plan.policy.allowDegraded && limit.value > 0;
  const members = new Set(allowDegraded ? plan.pools.flatMap(({ volumes }) => volumes) : []);
  const cappedVolume = (volume: VolumePlan): VolumePlan =>
    volume.luks?.deviceTimeout === undefined || members.has(volume.name)
      ? volume
      : { ...volume, luks: { ...volume.luks, deviceTimeout: capped(volume.luks.deviceTimeout) } };
  return {
    ...plan,
    deviceTimeout: capped(plan.deviceTimeout),
    guessTimeout: 0,
    memberTimeout: allowDegraded ? plan.memberTimeout : capped(plan.memberTimeout),
    policy: { ...plan.policy, allowDegraded },
    volumes: plan.volumes.map(cappedVolume),
  };
}
