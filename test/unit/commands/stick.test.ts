import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { LoopStick, STICK_UUID, whyNoStick } from "../enroll/usb/stick-scene.ts";

setDefaultTimeout(60_000);

const main = join(import.meta.dir, "../../../src/main.ts");

const configuration = (uuid: string, anyBus: boolean) => `[volumes.data]
kind = "luks"
device = "/dev/disk/by-id/none"
sources = ["usb"]
usb = { uuid = "${uuid}", path = "data.key", sha256 = "${"c0ffee00".repeat(8)}", any_bus = ${anyBus} }
`;

const whyNot = whyNoStick();
describe.skipIf(whyNot !== undefined)(`what udev tells of (${whyNot ?? "on a loop device"})`, () => {
  test("is one of the configured sticks, or is left alone", () => {
    using stick = new LoopStick();
    const isOurs = (text: string, device = stick.device): number | null => {
      const config = stick.file("latchkey.toml");
      writeFileSync(config, text);
      return Bun.spawnSync([process.execPath, main, "stick", "is-ours", device, "--config", config]).exitCode;
    };
    expect(isOurs(configuration(STICK_UUID.toUpperCase(), true))).toBe(0);
    expect(isOurs(configuration(STICK_UUID, false))).toBe(1); // a loop device is not removable
    expect(isOurs(configuration(STICK_UUID.replace("1", "2"), true))).toBe(1);
    expect(isOurs("")).toBe(1);
    expect(isOurs(configuration(STICK_UUID, true), "/dev/none")).toBe(1);
  });
});
