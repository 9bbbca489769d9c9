import type { VolumePlan } from "../config/plan.ts";
import { vaultsOf } from "../config/vaults.ts";
import type { Board } from "./board.ts";

/**
 * A volume that holds keys for others is waited for, and asked for, only as long as one of those may still want a key of it: a stick
 * with a vault that stays in the drawer must not hold up the boot of a machine that was opened by its passphrase.
 * @param onRelease called with the name of each such volume that is not needed any longer
 */
export function releaseVaults(
  volumes: readonly VolumePlan[],
  board: Board,
  signal: AbortSignal,
  onRelease: (vault: string) => void,
): void {
  const vaults = new Set(volumes.flatMap(vaultsOf));
  for (const { name } of volumes.filter((volume) => vaults.has(volume.name))) {
    const dependents = volumes.filter((volume) => vaultsOf(volume).includes(name));
    const isUnneeded = (): boolean => dependents.every((dependent) => board.isSettled(dependent.name));
    void board.until(isUnneeded, signal).then(() => {
      if (!signal.aborted && !board.isSettled(name)) onRelease(name);
    });
  }
}
