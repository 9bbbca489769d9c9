import { isIP } from "node:net";

/** Ways to get an address that dracut.cmdline(7), systemd-network-generator(8) or initramfs-tools(7) know. */
const AUTOMATIC = new Set([
  ...["dhcp", "on", "any", "both", "bootp", "rarp", "ibft"],
  ...["dhcp6", "auto6", "either6", "link6", "link-local"],
]);

/** Address, peer, gateway, netmask, host name, interface, autoconf: the field of the kernel's nfsroot.rst, counted from 0. */
const FIELDS = { gateway: 2, netmask: 3, method: 6 } as const;

/** One word: it goes where a kernel parameter goes. 255 octets are more than any address needs. */
const WORD = /^ip=([!-~]{1,255})$/;

/** An IPv6 address stands in brackets, because of its colons. */
const FIELD = /\[[^\]]*\]|[^:[\]]+|(?<=^|:)(?=:|$)/g;

/**
 * Is this a parameter `ip=` that brings a network up? A wrong one would not be found out before the machine cannot be reached.
 * @returns what is wrong with it; undefined when it is good
 */
export function kernelAddressProblem(text: string): string | undefined {
  const [, value] = WORD.exec(text) ?? [];
  if (value === undefined) return 'expected "dhcp", or a kernel parameter';
  const fields = value.match(FIELD) ?? [];
  const [first = ""] = fields;
  // A card of its own may come first: ip=eth0:dhcp.
  if (fields.slice(0, 2).some((field) => AUTOMATIC.has(field)) || AUTOMATIC.has(fields[FIELDS.method] ?? ""))
    return undefined;
  if (!isAddress(first))
    return `${JSON.stringify(first)} is no address, and nothing says dhcp: expected a kernel parameter`;
  const gateway = fields[FIELDS.gateway] ?? "";
  if (gateway !== "" && !isAddress(gateway))
    return `${JSON.stringify(gateway)}, the third field, is no gateway: expected a kernel parameter`;
  return isNetmask(fields[FIELDS.netmask] ?? "")
    ? undefined
    : "the fourth field has no netmask: expected a kernel parameter";
}

const isAddress = (field: string): boolean =>
  isIP(field) === 4 || (/^\[.*\]$/.test(field) && isIP(field.slice(1, -1)) === 6);

/** 255.255.255.0, or the number of bits. */
function isNetmask(field: string): boolean {
  if (/^\d{1,3}$/.test(field)) return Number(field) <= 128;
  if (isIP(field) !== 4) return false;
  const bits = field
    .split(".")
    .map((octet) => Number(octet).toString(2).padStart(8, "0"))
    .join("");
  return /^1+0*$/.test(bits);
}

/**
 * The same for ipconfig of klibc, which initramfs-tools uses: it knows the kernel's own form alone, so no card in front, and no number of
 * bits for a netmask.
 */
export function addressForIpconfig(text: string): string {
  const [, value = ""] = WORD.exec(text) ?? [];
  const fields = value.match(FIELD) ?? [];
  const [first = "", second = "", , netmask = ""] = fields;
  if (AUTOMATIC.has(second)) return `ip=:::::${first}:${second}`;
  if (isIP(first) !== 4 || !/^\d{1,2}$/.test(netmask)) return text;
  const bits = "1".repeat(Math.min(32, Number(netmask))).padEnd(32, "0");
  const dotted = (bits.match(/.{8}/g) ?? []).map((octet) => Number.parseInt(octet, 2)).join(".");
  return `ip=${fields.map((field, index) => (index === FIELDS.netmask ? dotted : field)).join(":")}`;
}
