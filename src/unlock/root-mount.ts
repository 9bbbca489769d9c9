import type { Plan } from "../config/plan.ts";
import { type MountPlan, type MountRequest, planMount } from "../providers/bcachefs/mount.ts";
import { runMount } from "../providers/bcachefs/mount-run.ts";
import type { Report, VolumeRecord } from "./report.ts";

/** Where systemd's initrd mounts the root filesystem, bootup(7). */
export const SYSROOT = "/sysroot";

export interface InitrdFacts {
  /** We run in an initrd: the root is mounted below SYSROOT. */
  readonly inInitrd: boolean;
  /** mount(8) finds bcachefs' own helper, which gathers the members itself. */
  readonly hasMountHelper: boolean;
  readonly sysrootIsMounted: boolean;
}

const mountable: ReadonlySet<VolumeRecord["standing"]> = new Set(["opened", "already-open", "unencrypted"]);

/**
 * Does latchkey have to mount the root itself? Only a bcachefs with several members, where the image has no mount helper:
 * the generated sysroot.mount names one member, and the kernel wants all of them. systemd then finds it mounted.
 */
export function planRootMount(plan: Plan, report: Report, facts: InitrdFacts): MountRequest | undefined {
  if (!facts.inInitrd || facts.hasMountHelper || facts.sysrootIsMounted) return undefined;
  const root = plan.volumes.find((volume) => volume.isRoot && volume.kind === "bcachefs");
  const record = report.volumes.find(({ name }) => name === root?.name);
  if (!root || !record || !plan.rootMount || !mountable.has(record.standing)) return undefined;
  const { allowDegraded } = plan.policy;
  if (record.devices.length < 2 && !allowDegraded) return undefined;
  const { options, readOnly, subdirectory } = plan.rootMount;
  return {
    devices: record.devices,
    target: SYSROOT,
    options: subdirectory === undefined ? options : [...options, `X-mount.subdir=${subdirectory}`],
    readOnly,
    degraded: allowDegraded,
  };
}

/**
 * Mounts the root. mount(2) holds up the event loop for as long as the filesystem takes to recover, minutes after a power cut,
 * so the alarm that ends a program that stands still must be off by then; the mount itself is the kernel's to end.
 * @param disarm turns that alarm off
 * @returns notes for the report
 * @throws LatchkeyError bcachefs/mount-failed
 */
export function mountRoot(
  request: MountRequest,
  disarm: () => void,
  mount: (plan: MountPlan) => readonly string[] = runMount,
): readonly string[] {
  disarm();
  return mount(planMount(request));
}
