import settings from "../../../initrd-hooks/initramfs-tools/remote.conf" with { type: "text" };
import hook from "../../../initrd-hooks/initramfs-tools/remote-hook.sh" with { type: "text" };
import localBottom from "../../../initrd-hooks/initramfs-tools/remote-local-bottom.sh" with { type: "text" };
import startScript from "../../../initrd-hooks/initramfs-tools/remote-start.sh" with { type: "text" };
import stopScript from "../../../initrd-hooks/initramfs-tools/remote-stop.sh" with { type: "text" };
import type { CarriedFile } from "../carried-file.ts";

const CONFIGURATION = "/etc/initramfs-tools";
const LIBRARY = "/usr/lib/latchkey";

/** What `latchkey install initramfs-tools` writes for the SSH server. In the image only where the source remote is configured. */
export const initramfsToolsRemoteFiles: readonly CarriedFile[] = [
  { path: `${CONFIGURATION}/hooks/latchkey-remote`, mode: 0o755, text: hook, inImage: [] },
  { path: `${CONFIGURATION}/conf.d/latchkey-remote`, mode: 0o644, text: settings, inImage: [] },
  {
    path: `${CONFIGURATION}/scripts/local-bottom/latchkey-remote`,
    mode: 0o755,
    text: localBottom,
    inImage: ["/scripts/local-bottom/latchkey-remote"],
  },
  { path: `${LIBRARY}/remote-start`, mode: 0o755, text: startScript, inImage: [] },
  { path: `${LIBRARY}/remote-stop`, mode: 0o755, text: stopScript, inImage: [] },
];
