import type { NetworkInterfaceInfo } from "node:os";
import type { ImageFacts } from "../../system/remote-image.ts";

/** Most addresses that a line names. */
const MOST_ADDRESSES = 3;

/** What networkInterfaces() of node:os gives. */
export type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

/** RFC 4291, section 2.5.6, and RFC 3927. A client has to name an interface of its own with one, and it is there before any other. */
export const isLinkLocal = (address: string): boolean => /^(?:fe80:|169\.254\.)/i.test(address);

/**
 * The addresses by which this machine may be reached, the best kind of them that there is: IPv4, which is there first and easier
 * to type; other global ones; link-local ones.
 */
export function reachableAddresses(interfaces: Interfaces): readonly string[] {
  const all = Object.values(interfaces).flatMap((list) => list ?? []);
  const outside = all.filter(({ internal }) => !internal).map(({ address }) => address);
  const global = outside.filter((address) => !isLinkLocal(address));
  const version4 = global.filter((address) => !address.includes(":"));
  return [...new Set([version4, global, outside].find((some) => some.length > 0) ?? [])];
}

/**
 * The line for the console: `remote: ssh -p 22 root@192.0.2.7, host key SHA256:…`. Of several host keys the first, which is the
 * Ed25519 one: the one that OpenSSH's client asks for where it knows none yet.
 */
export function announcement({ port, fingerprints }: ImageFacts, addresses: readonly string[]): string {
  const named = addresses.slice(0, MOST_ADDRESSES).map((address) => `root@${address}`);
  const more = addresses.length > named.length ? ` (and ${addresses.length - named.length} more addresses)` : "";
  const [fingerprint] = fingerprints;
  const key = fingerprint === undefined ? "" : `, host key ${fingerprint}`;
  return `remote: ssh -p ${port} ${named.join(" or ")}${more}${key}`;
}

const LISTEN = "0A";

/** Does something listen at the port? By /proc/net/tcp or tcp6, proc(5): local address and state are its second and fourth column. */
export function listensAt(port: number, tables: readonly string[]): boolean {
  const wanted = port.toString(16).toUpperCase().padStart(4, "0");
  return tables.some((table) =>
    table.split("\n").some((line) => {
      const [, local = "", , state = ""] = line.trim().split(/\s+/);
      return state === LISTEN && local.endsWith(`:${wanted}`);
    }),
  );
}
