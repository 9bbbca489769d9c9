import type { VolumePlan } from "../config/plan.ts";
import { vaultsOf } from "../config/vaults.ts";
import type { Board } from "./board.ts";

/**
 * Whether a vault that this run opened is closed again when no volume waits for a key of it. One on an inner disk may hold more than
 * keys, the root even, and stays open unless the configuration says otherwise; so does what crypttab or fstab wants open.
 * @param isOnStick its device is removable, or on a USB bus
 */
export function isClosedAgain(vault: VolumePlan, volumes: readonly VolumePlan[], isOnStick: boolean): boolean {
  if (vault.isRoot || vault.isForInitrd === true || vault.luks?.isNamedBySystem === true) return false;
  const wishes = volumes.flatMap(({ sources }) =>
    sources.flatMap((source) => (source.kind === "vault" && source.volume === vault.name ? [source.close] : [])),
  );
  if (wishes.includes(false)) return false;
  return wishes.includes(true) || isOnStick;
}

/**
 * A volume that holds keys for others is waited for, and asked for, only as long as one of those may still want a key of it: a stick
 * with a vault that stays in the drawer must not hold up the boot of a machine that was opened by its passphrase.
 * @param onRelease called with the name of each such volume once it is not needed any longer, open or not
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
      if (!signal.aborted) onRelease(name);
    });
  }
}
