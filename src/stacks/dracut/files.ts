import degradedRules from "../../../initrd-hooks/dracut/65-latchkey.rules" with { type: "text" };
import configuration from "../../../initrd-hooks/dracut/90-latchkey.conf" with { type: "text" };
import cryptsetupDropIn from "../../../initrd-hooks/dracut/cryptsetup-latchkey.conf" with { type: "text" };
import service from "../../../initrd-hooks/dracut/latchkey.service" with { type: "text" };
import fallbackService from "../../../initrd-hooks/dracut/latchkey-fallback.service" with { type: "text" };
import fallbackScript from "../../../initrd-hooks/dracut/latchkey-fallback.sh" with { type: "text" };
import listeningScript from "../../../initrd-hooks/dracut/latchkey-listening.sh" with { type: "text" };
import refusedHook from "../../../initrd-hooks/dracut/latchkey-refused.sh" with { type: "text" };
import moduleSetup from "../../../initrd-hooks/dracut/module-setup.sh" with { type: "text" };
import sysrootDropIn from "../../../initrd-hooks/dracut/sysroot-latchkey.conf" with { type: "text" };
import type { CarriedFile } from "../carried-file.ts";
import { dracutRemoteFiles } from "../remote/dracut-files.ts";

export const DRACUT_MODULE_FOLDER = "/usr/lib/dracut/modules.d/90latchkey";

const UNITS = "/usr/lib/systemd/system";
const HOOKS = "/var/lib/dracut/hooks";

function inModule(name: string, text: string, mode: number, inImage: readonly string[]): CarriedFile {
  return { path: `${DRACUT_MODULE_FOLDER}/${name}`, mode, text, inImage };
}

/** Everything `latchkey install dracut` writes besides the program. */
export const dracutFiles: readonly CarriedFile[] = [
  inModule("module-setup.sh", moduleSetup, 0o755, []),
  inModule("latchkey.service", service, 0o644, [`${UNITS}/latchkey.service`]),
  inModule("latchkey-fallback.service", fallbackService, 0o644, [`${UNITS}/latchkey-fallback.service`]),
  inModule("latchkey-fallback.sh", fallbackScript, 0o755, ["/usr/lib/latchkey/fallback"]),
  inModule("latchkey-refused.sh", refusedHook, 0o755, [
    `${HOOKS}/emergency/50-latchkey-refused.sh`,
    `${HOOKS}/shutdown-emergency/50-latchkey-refused.sh`,
  ]),
  inModule("sysroot-latchkey.conf", sysrootDropIn, 0o644, [
    `${UNITS}/sysroot.mount.d/latchkey.conf`,
    `${UNITS}/systemd-fsck-root.service.d/latchkey.conf`,
  ]),
  inModule("cryptsetup-latchkey.conf", cryptsetupDropIn, 0o644, [
    `${UNITS}/systemd-cryptsetup@.service.d/latchkey.conf`,
  ]),
  inModule("65-latchkey.rules", degradedRules, 0o644, ["/usr/lib/udev/rules.d/65-latchkey.rules"]),
  inModule("latchkey-listening.sh", listeningScript, 0o755, ["/usr/lib/latchkey/listening"]),
  // In the image only where the source remote is configured: auditRemote() looks.
  ...dracutRemoteFiles.map(({ name, text, mode }) => inModule(name, text, mode, [])),
  { path: "/etc/dracut.conf.d/90-latchkey.conf", mode: 0o644, text: configuration, inImage: [] },
];

/** Units that initrd.target must want in the image. */
export const dracutUnits: readonly string[] = ["latchkey.service", "latchkey-fallback.service"];
