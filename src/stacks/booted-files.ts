import degradedRules from "../../initrd-hooks/dracut/65-latchkey.rules" with { type: "text" };
import tokenRules from "../../system-units/99-latchkey.rules" with { type: "text" };
import cryptsetupDropIn from "../../system-units/cryptsetup-staged.conf" with { type: "text" };
import unlockService from "../../system-units/latchkey@.service" with { type: "text" };
import tokenService from "../../system-units/latchkey-token@.service" with { type: "text" };
import type { CarriedFile } from "./carried-file.ts";

const UNITS = "/usr/lib/systemd/system";
/** The unit of a volume of the booted system. */
export const VOLUME_UNIT = `${UNITS}/latchkey@.service`;

function unit(name: string, text: string): CarriedFile {
  return { path: `${UNITS}/${name}`, mode: 0o644, text, inImage: [] };
}

/**
 * Units of the booted system, which `latchkey install` writes whatever builds the initrd. None of them is enabled by it; the rule starts
 * latchkey-token@.service for what is plugged into USB.
 */
export const bootedFiles: readonly CarriedFile[] = [
  { path: VOLUME_UNIT, mode: 0o644, text: unlockService, inImage: [] },
  unit("latchkey-token@.service", tokenService),
  { path: "/usr/lib/udev/rules.d/65-latchkey.rules", mode: 0o644, text: degradedRules, inImage: [] },
  { path: "/usr/lib/udev/rules.d/99-latchkey.rules", mode: 0o644, text: tokenRules, inImage: [] },
  unit("systemd-cryptsetup@.service.d/50-latchkey.conf", cryptsetupDropIn),
];
