import type { Luks2Device } from "../providers/luks/luks2-device.ts";
import type { FoundVolume } from "../providers/provider.ts";
import { Credential } from "../system/credential.ts";
import type { SecretBytes } from "../system/secret-bytes.ts";
import type { TargetFacts } from "./steps.ts";

/** The volume that gets another way in. */
export type Target =
  | {
      readonly kind: "bcachefs";
      readonly facts: Extract<TargetFacts, { kind: "bcachefs" }>;
      readonly volume: FoundVolume;
    }
  | {
      readonly kind: "luks2";
      readonly facts: Extract<TargetFacts, { kind: "luks2" }>;
      readonly device: Luks2Device;
      /** Key slots that have a Clevis token already. */
      readonly boundSlots: readonly number[];
    };

/**
 * Proves that a secret opens the volume as it is now, from the start: nothing derived before is used again.
 * @param secret stays the caller's
 * @throws LatchkeyError `wrong-credential` when it does not
 */
export async function proveOn(target: Target, secret: SecretBytes, signal: AbortSignal): Promise<void> {
  if (target.kind === "luks2") return await target.device.prove(secret, undefined, signal);
  using credential = new Credential(secret.clone());
  (await target.volume.prove(credential, signal))[Symbol.dispose]();
}
