import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { addressForIpconfig, kernelAddressProblem } from "../../../src/config/kernel-address.ts";

describe("a parameter ip=", () => {
  test.each([
    "ip=dhcp",
    "ip=eth0:dhcp",
    "ip=:::::eth0:dhcp",
    "ip=::::server1:eth0:auto6",
    "ip=enp0s3:dhcp6:1500",
    "ip=192.0.2.7::192.0.2.1:255.255.255.0::eth0:none",
    "ip=192.0.2.7::192.0.2.1:255.255.255.0:::off",
    "ip=192.0.2.7:::24::eth0:none",
    "ip=192.0.2.7::192.0.2.1:255.255.255.0:server1:eth0:none:1500:52:54:00:12:34:56",
    "ip=[2001:db8::7]::[2001:db8::1]:64::eth0:none",
  ])("%s is good", (text) => {
    expect(kernelAddressProblem(text)).toBeUndefined();
  });

  test.each([
    ["192.0.2.7", 'expected "dhcp", or a kernel parameter'],
    ["ip=", 'expected "dhcp", or a kernel parameter'],
    ["ip=192.0.2.7 ::", 'expected "dhcp", or a kernel parameter'],
    ["ip=eth0", '"eth0" is no address, and nothing says dhcp'],
    ["ip=none", '"none" is no address, and nothing says dhcp'],
    ["ip=192.0.2.300::192.0.2.1:255.255.255.0::eth0:none", '"192.0.2.300" is no address'],
    ["ip=192.0.2.7:192.0.2.1:255.255.255.0::eth0:none", "no netmask"],
    ["ip=192.0.2.7::192.0.2.1:255.0.255.0::eth0:none", "no netmask"],
    ["ip=192.0.2.7::192.0.2.1:::eth0:none", "no netmask"],
    ["ip=192.0.2.7", "no netmask"],
    ["ip=2001:db8::7::[2001:db8::1]:64::eth0:none", '"2001" is no address'],
  ])("%s is not: %s", (text, problem) => {
    expect(kernelAddressProblem(text)).toContain(problem);
  });

  test.each([
    ["ip=eth0:dhcp", "ip=:::::eth0:dhcp"],
    ["ip=192.0.2.7::192.0.2.1:22::eth0:none", "ip=192.0.2.7::192.0.2.1:255.255.252.0::eth0:none"],
    ["ip=192.0.2.7::192.0.2.1:255.255.255.0::eth0:none", "ip=192.0.2.7::192.0.2.1:255.255.255.0::eth0:none"],
    ["ip=dhcp", "ip=dhcp"],
  ])("%s is %s for ipconfig", (text, form) => {
    expect(addressForIpconfig(text)).toBe(form);
  });

  test("of any text is judged at once", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 400, unit: fc.constantFrom(..."ip=:[]1.a0 ") }), (text) => {
        kernelAddressProblem(`ip=${text}`);
        addressForIpconfig(`ip=${text}`);
      }),
    );
  });
});
