import { describe, expect, test } from "bun:test";
import { takeInterfacesDown, withInterfaceCalls } from "../../../src/system/network-interfaces.ts";

interface Interface {
  flags: number;
  addresses: number;
  refusesToLetGo?: boolean;
}

/** Stands in for the kernel: netdevice(7) by number. */
function kernel(interfaces: Record<string, Interface>) {
  return {
    names: () => Object.keys(interfaces),
    call: (request: number, argument: Uint8Array): boolean => {
      const view = new DataView(argument.buffer);
      const name = new TextDecoder().decode(argument.subarray(0, 16)).replace(/\0.*$/s, "");
      const one = interfaces[name];
      if (!one || argument.length !== 40) return false;
      switch (request) {
        case 0x8913:
          view.setUint16(16, one.flags, true);
          return true;
        case 0x8914:
          one.flags = view.getUint16(16, true);
          return true;
        case 0x8915:
          return one.addresses > 0;
        case 0x8916:
          // sockaddr_in of 0.0.0.0
          if (view.getUint16(16, true) !== 2 || argument.subarray(18).some((octet) => octet !== 0)) return false;
          if (!one.refusesToLetGo) one.addresses -= 1;
          return true;
      }
      return false;
    },
  };
}

const UP_BROADCAST_RUNNING = 0x43;

describe("the network of the initrd", () => {
  test("goes down with all its addresses, the loopback stays", () => {
    const interfaces = {
      lo: { flags: 0x49, addresses: 1 },
      enp0s3: { flags: UP_BROADCAST_RUNNING, addresses: 2 },
      "a-name-of-15-oct": { flags: UP_BROADCAST_RUNNING, addresses: 0 },
      eth1: { flags: 0x42, addresses: 0 },
    };
    takeInterfacesDown(kernel(interfaces));
    expect(interfaces.lo).toEqual({ flags: 0x49, addresses: 1 });
    expect(interfaces.enp0s3).toEqual({ flags: 0x42, addresses: 0 });
    expect(interfaces.eth1).toEqual({ flags: 0x42, addresses: 0 });
  });

  test("an address that does not go is no reason to hang", () => {
    const interfaces = { eth0: { flags: UP_BROADCAST_RUNNING, addresses: 1, refusesToLetGo: true } };
    takeInterfacesDown(kernel(interfaces));
    expect(interfaces.eth0.flags).toBe(0x42);
  });

  test("is asked of the kernel by name", () => {
    withInterfaceCalls(({ names, call }) => {
      expect(names()).toContain("lo");
      const request = new Uint8Array(40);
      request.set(new TextEncoder().encode("lo"));
      expect(call(0x8913, request)).toBe(true);
      // IFF_LOOPBACK
      expect(new DataView(request.buffer).getUint16(16, true) & 8).toBe(8);
      request.set(new TextEncoder().encode("nothing0"));
      expect(call(0x8913, request)).toBe(false);
    });
  });
});
