import cryptsetupDropIn from "../../system-units/cryptsetup-staged.conf" with { type: "text" };
import unlockService from "../../system-units/latchkey@.service" with { type: "text" };
import type { CarriedFile } from "./carried-file.ts";

const UNITS = "/usr/lib/systemd/system";

function unit(name: string, text: string): CarriedFile {
  return { path: `${UNITS}/${name}`, mode: 0o644, text, inImage: [] };
}

/** Units of the booted system, which `latchkey install` writes whatever builds the initrd. None of them is enabled by it. */
export const bootedFiles: readonly CarriedFile[] = [
  unit("latchkey@.service", unlockService),
  unit("systemd-cryptsetup@.service.d/50-latchkey.conf", cryptsetupDropIn),
];
