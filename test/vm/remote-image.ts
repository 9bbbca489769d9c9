/** Images with latchkey's SSH server, for tests and benchmarks. */
import type { Files } from "./files.ts";
import type { SshKeys } from "./ssh.ts";

/**
 * dracut brings every network driver there is into an image that is not hostonly; an owner's image has that of his card. Those that stay
 * are directly in drivers/net, virtio_net among them.
 */
export const withoutOtherCards: readonly string[] = ["*", "*/*", "*/*/*", "*/*/*/*"].map(
  (folders) => `/usr/lib/modules/*/kernel/drivers/net/${folders}/*.ko.xz`,
);

export type Server = "openssh" | "dropbear";

/** /etc/latchkey with this configuration, a key that may log in, and the server's host key. */
export function remoteConfig(keys: SshKeys, server: Server, configuration: string): Files {
  return {
    "/latchkey.toml": configuration,
    "/authorized_keys": `${keys.clientPublic}\n`,
    ...(server === "openssh"
      ? { "/ssh/ssh_host_ed25519_key": { content: keys.hostOpenssh, mode: 0o600 } }
      : { "/ssh/dropbear_ed25519_host_key": { content: keys.hostDropbear, mode: 0o600 } }),
  };
}

/** dropbear-initramfs as its handbook has it: one key, the options that people use, and Debian's own forced command. */
export function dropbearInitramfs(keys: SshKeys): Files {
  return {
    "/etc/dropbear/initramfs/authorized_keys": { content: `${keys.clientPublic}\n`, mode: 0o600 },
    "/etc/dropbear/initramfs/dropbear_ed25519_host_key": { content: keys.hostDropbear, mode: 0o600 },
    "/etc/dropbear/initramfs/dropbear.conf": 'DROPBEAR_OPTIONS="-I 180 -j -k -s -c cryptroot-unlock"\n',
  };
}

/** As if the package were not installed, but its server. */
export const withoutDropbearInitramfs: readonly string[] = [
  ...["hooks/dropbear", "conf-hooks.d/dropbear", "scripts/init-premount/dropbear", "scripts/init-bottom/dropbear"],
].map((name) => `/usr/share/initramfs-tools/${name}`);

/** Clevis' own scripts look for a question ten times a second, and an emulated machine has something better to do. */
export const withoutClevis: readonly string[] = ["hooks", "scripts/local-top", "scripts/local-bottom"].map(
  (folder) => `/usr/share/initramfs-tools/${folder}/clevis`,
);
