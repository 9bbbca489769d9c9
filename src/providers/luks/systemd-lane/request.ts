import type { Peer } from "../../../system/unix-stream.ts";

/**
 * What a connection to `/run/cryptsetup-keys.d/NAME.key` asks for.
 * `key`: the passphrase · `token`: the sealed blob of a TPM, FIDO2 or PKCS#11 token, which latchkey does not have: closed
 * without a byte, systemd-cryptsetup goes on with the token in the LUKS2 header · `stranger`: not to be answered, and why.
 */
export type KeyRequest =
  | { readonly wants: "key" }
  | { readonly wants: "token" }
  | { readonly wants: "stranger"; readonly why: string };

/**
 * systemd-cryptsetup binds an abstract name before it connects: hexadecimal digits that make it unique, a word that says
 * what it wants, and the volume (make_bindname() in systemd's src/cryptsetup/cryptsetup.c; crypttab(5), "AF_UNIX").
 */
const NAME = /^[0-9a-f]{1,16}\/cryptsetup(?<token>-[a-z0-9-]+)?\/(?<volume>.+)$/s;

/** `-fido2` is what systemd before 257 calls `-fido2-salt`. */
const TOKENS: ReadonlySet<string> = new Set(["-tpm2", "-fido2-salt", "-fido2", "-pkcs11"]);

/**
 * Judges who connected to a volume's socket, by the kernel's word on its user and by the name it bound.
 * @param trusted the users who may ask: root
 */
export function judgePeer(peer: Peer, volume: string, trusted: ReadonlySet<number>): KeyRequest {
  const stranger = (why: string): KeyRequest => ({ wants: "stranger", why });
  if (!trusted.has(peer.uid)) return stranger(`process ${peer.pid} of user ${peer.uid} is not root`);
  const parts = peer.name === undefined ? undefined : NAME.exec(peer.name)?.groups;
  if (!parts) return stranger(`process ${peer.pid} does not say that it is systemd-cryptsetup`);
  if (parts["volume"] !== volume) return stranger(`process ${peer.pid} asks for another volume`);
  const { token } = parts;
  if (token === undefined) return { wants: "key" };
  return TOKENS.has(token) ? { wants: "token" } : stranger(`process ${peer.pid} wants a "${token.slice(1)}"`);
}
