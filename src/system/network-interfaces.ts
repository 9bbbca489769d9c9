import { closeSync, readdirSync } from "node:fs";
import { libc } from "./libc.ts";

/** The kernel's calls by interface name, netdevice(7). */
export interface InterfaceCalls {
  names(): readonly string[];
  /** @returns false when there is nothing there, or the kernel does not want to */
  call(request: number, argument: Uint8Array): boolean;
}

const FOLDER = "/sys/class/net";
const LOOPBACK = "lo";

const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const SIOCGIFADDR = 0x8915;
const SIOCSIFADDR = 0x8916;
const IFF_UP = 1;

/** struct ifreq of a 64-bit Linux: a name of 16 octets with the zero at its end, and a union of 24. */
const REQUEST_OCTETS = 40;
const NAME_OCTETS = 16;

/** No interface has as many addresses. */
const MOST_ADDRESSES = 64;

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;

/**
 * Takes the IPv4 addresses off every interface but the loopback, and sets it down, with which the kernel takes IPv6 off, too. Not by
 * ip(8): its libelf in an initrd is all that libbpf lacks there, and systemd then loads BPF programs at every boot, which takes longer than
 * all else that this costs.
 */
export function takeInterfacesDown({ names, call }: InterfaceCalls): void {
  for (const name of names()) {
    if (name === LOOPBACK) continue;
    for (let count = 0; count < MOST_ADDRESSES && call(SIOCGIFADDR, requestFor(name)); count += 1) {
      const nothing = requestFor(name);
      new DataView(nothing.buffer).setUint16(NAME_OCTETS, AF_INET, true);
      if (!call(SIOCSIFADDR, nothing)) break;
    }
    const flags = requestFor(name);
    if (!call(SIOCGIFFLAGS, flags)) continue;
    const view = new DataView(flags.buffer);
    view.setUint16(NAME_OCTETS, view.getUint16(NAME_OCTETS, true) & ~IFF_UP, true);
    call(SIOCSIFFLAGS, flags);
  }
}

function requestFor(name: string): Uint8Array<ArrayBuffer> {
  const request = new Uint8Array(REQUEST_OCTETS);
  request.set(new TextEncoder().encode(name).subarray(0, NAME_OCTETS - 1));
  return request;
}

/** The kernel itself. */
export function withInterfaceCalls(work: (calls: InterfaceCalls) => void): void {
  const socket = libc().socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
  if (socket < 0) return; // a kernel without a network
  try {
    work({
      names: () => readdirSync(FOLDER),
      call: (request, argument) => libc().ioctl(socket, BigInt(request), argument) === 0,
    });
  } finally {
    closeSync(socket);
  }
}
