import { hook } from "./fault.ts";
import type { Files } from "./files.ts";
import type { Guest } from "./guest/chroot.ts";
import { buildInitrd } from "./initrd.ts";

/** The question of the stock way. */
export const STOCK_QUESTION = "Passphrase for the root filesystem:";

/**
 * The stock way to an encrypted bcachefs root, which latchkey is measured against: dracut has no support for it, so owners write a hook
 * like this one. The key goes to the user keyring, where the mount, which has another session, finds it.
 */
const UNLOCK = `
for try in 1 2 3; do
  systemd-ask-password --timeout=0 '${STOCK_QUESTION}' | bcachefs unlock -k user "\${root#block:}" && break
done
`;

export const stockFiles: Files = hook("pre-mount", "stock-unlock", UNLOCK);

/** An initrd without latchkey that has what the stock way needs; `stockFiles` go on top as an overlay. */
export function stockInitrd(guest: Guest, compression: "quick" | "usual" = "quick"): Promise<string> {
  return buildInitrd(guest, { stack: "dracut", binary: null, install: ["bcachefs", "mount.bcachefs"], compression });
}
