import type { UsbPlan } from "../../config/plan.ts";
import type { KeyReader } from "../../sources/usb/key-reader.ts";
import type { Stick } from "../../sources/usb/sticks.ts";
import { isMeant, readStickKey } from "../../sources/usb/usb-source.ts";
import { LatchkeyError } from "../../system/errors.ts";

/**
 * Is what lies on a stick the key of the configuration? It is read as at boot, compared, and wiped.
 * @throws LatchkeyError usb/…, key-file/…, device/…
 */
export async function proveStickKey(
  plan: UsbPlan,
  stick: Stick,
  reader: Pick<KeyReader, "identify" | "read">,
  signal: AbortSignal,
): Promise<void> {
  const identity = await reader.identify(stick.path, stick.partitionOf, signal);
  if (!isMeant(plan, identity)) {
    throw new LatchkeyError("usb/absent", `${stick.path} says another UUID than udev's link to it`, {
      hint: "was it formatted just now? then plug it in again",
    });
  }
  using _ = await readStickKey({ stick, identity }, plan, reader, signal);
}
