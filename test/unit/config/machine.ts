import { printDeviceReference } from "../../../src/config/device-reference.ts";
import { type LoadOptions, loadPlan } from "../../../src/config/load.ts";
import type { Plan, VolumePlan } from "../../../src/config/plan.ts";

export const uuid = "6e8c1f2a-0b3d-4c5e-8f70-123456789abc";
export const otherUuid = "0a1b2c3d-4e5f-4607-8a9b-abcdef012345";

/** The files of a machine that latchkey reads; what is left out is not there. */
export interface Machine {
  readonly toml?: string;
  readonly kernel?: string;
  readonly fstab?: string;
  readonly crypttab?: string;
  /** In the place of crypttab in an initramfs of Debian's. */
  readonly cryptroot?: string;
  /** Names of the tokens in /etc/latchkey. */
  readonly tokens?: readonly string[];
  /** A system that is up unless the test says otherwise. */
  readonly facts?: LoadOptions["machine"];
}

export function planOf(machine: Machine, mode: LoadOptions["mode"] = "strict"): Plan {
  const files = new Map([
    ["/etc/latchkey/latchkey.toml", machine.toml],
    ["/proc/cmdline", machine.kernel],
    ["/etc/fstab", machine.fstab],
    ["/etc/crypttab", machine.crypttab],
    ["/cryptroot/crypttab", machine.cryptroot],
  ]);
  const tokens = machine.tokens?.map((name) => `${name}.jwe`) ?? [];
  return loadPlan({
    mode,
    read: (path) => files.get(path),
    list: (folder) => (folder === "/etc/latchkey" ? tokens : []),
    machine: machine.facts ?? { inInitrd: false, runsSystemd: false },
  });
}

/** The volumes in short: name, devices, and what is special about them. */
export function volumesOf(machine: Machine, mode: "strict" | "boot" = "strict"): readonly string[] {
  return planOf(machine, mode).volumes.map(shortly);
}

export function shortly({ name, devices, certainty, isRoot, requireEncrypted }: VolumePlan): string {
  const flags = [
    certainty === "if-bcachefs" ? "maybe" : undefined,
    isRoot ? "root" : undefined,
    requireEncrypted ? "encrypted" : undefined,
  ].filter((flag) => flag !== undefined);
  return [name, devices.map(printDeviceReference).join(" "), ...flags].join(" | ");
}
