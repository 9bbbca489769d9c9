/** What belongs to the SSH server of the initrd, on the system and in the image. */
export const SSH_FOLDER = "/etc/latchkey/ssh";
export const OWN_AUTHORIZED_KEYS = "/etc/latchkey/authorized_keys";
export const ROOT_AUTHORIZED_KEYS = "/root/.ssh/authorized_keys";

/** Apart from the system's own keys: whoever has the disk can read the image, and with it these. */
export const HOST_KEYS = {
  openssh: `${SSH_FOLDER}/ssh_host_ed25519_key`,
  dropbear: `${SSH_FOLDER}/dropbear_ed25519_host_key`,
} as const;

/** Where dropbear-initramfs has its keys. */
export const ADOPTED_FOLDERS = ["/etc/dropbear/initramfs", "/etc/dropbear-initramfs"] as const;
export const ADOPTED_HOST_KEYS = [
  "dropbear_ed25519_host_key",
  "dropbear_ecdsa_host_key",
  "dropbear_rsa_host_key",
] as const;

/** In the image alone. */
export const LIBRARY = "/usr/lib/latchkey";
export const SERVER_SCRIPT = `${LIBRARY}/remote-server`;
export const ADDRESS_FILE = `${LIBRARY}/remote-ip`;
export const ANSWER_SCRIPT = `${LIBRARY}/answer`;
export const SSHD_CONFIG = `${SSH_FOLDER}/sshd_config`;
