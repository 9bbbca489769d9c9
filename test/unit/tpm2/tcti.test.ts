import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { LatchkeyError } from "../../../src/system/errors.ts";
import { addressName, chooseTcti, parseTcti } from "../../../src/tpm2/tcti.ts";

const tcp = (host: string, port: number) => ({ kind: "tcp", host, port });
const device = (path: string) => ({ kind: "device", path });

describe("a TCTI string", () => {
  test.each([
    ["", { kind: "first-device" }],
    ["device", { kind: "first-device" }],
    ["device:", { kind: "first-device" }],
    ["device:/dev/tpmrm0", device("/dev/tpmrm0")],
    ["device:/dev/tpm0", device("/dev/tpm0")],
    ["/dev/tpmrm1", device("/dev/tpmrm1")],
    ["libtss2-tcti-device.so.0:/dev/tpmrm0", device("/dev/tpmrm0")],
    ["swtpm", tcp("127.0.0.1", 2321)],
    ["swtpm:", tcp("127.0.0.1", 2321)],
    ["swtpm:port=2331", tcp("127.0.0.1", 2331)],
    ["swtpm:host=10.0.2.2,port=2321", tcp("10.0.2.2", 2321)],
    ["swtpm:path=/run/swtpm.sock", { kind: "unix", path: "/run/swtpm.sock" }],
  ])("%j is understood", (text, expected) => {
    expect(parseTcti(text)).toEqual(expected as never);
  });

  test.each([
    ["tabrmd:bus_name=com.intel.tss2.Tabrmd", 'not by "tabrmd"'],
    ["mssim:host=localhost", 'not by "mssim"'],
    ["swtpm:port=0", '"0" is not a port'],
    ["swtpm:port=65536", "is not a port"],
    ["swtpm:port=2321x", "is not a port"],
    ["swtpm:port=1,port=2", "not"],
    ["swtpm:path=/a,port=1", "either a path or a host and port"],
    ["swtpm:speed=9", '"speed=9"'],
    ["swtpm:path=", '"path="'],
    ["swtpm:host", '"host"'],
    [`swtpm:path=/${"x".repeat(200)}`, "too long"],
    ["x".repeat(5000), "not a TCTI string"],
  ])("%j is refused with the reason", (text, reason) => {
    expect(() => parseTcti(text)).toThrow(reason);
  });

  test("of the environment wins over the configured one, as for tpm2-tools; an empty one does not", () => {
    expect(chooseTcti("device:/dev/tpmrm0", { TPM2TOOLS_TCTI: "swtpm:port=7" })).toEqual({
      kind: "tcp",
      host: "127.0.0.1",
      port: 7,
    });
    expect(chooseTcti("device:/dev/tpmrm1", { TPM2TOOLS_TCTI: "" })).toEqual({ kind: "device", path: "/dev/tpmrm1" });
    expect(chooseTcti(undefined, {})).toEqual({ kind: "first-device" });
  });

  test("has a name for messages", () => {
    expect(["device:/dev/tpm0", "", "swtpm", "swtpm:path=/s"].map((text) => addressName(parseTcti(text)))).toEqual([
      "/dev/tpm0",
      "/dev/tpmrm0",
      "swtpm at 127.0.0.1 port 2321",
      "swtpm at /s",
    ]);
  });

  test("is understood or refused with tpm2/tcti-invalid, whatever it is", () => {
    const parts = fc.constantFrom("swtpm", "device", ":", "host=", "port=", "path=", ",", "=", "/dev/tpm0", "1", "\0");
    const text = fc.oneof(
      fc.string(),
      fc.array(parts, { maxLength: 12 }).map((list) => list.join("")),
    );
    fc.assert(
      fc.property(text, (value) => {
        try {
          expect(addressName(parseTcti(value))).not.toBe("");
        } catch (error) {
          expect((error as LatchkeyError).code).toBe("tpm2/tcti-invalid");
        }
      }),
    );
  });
});
