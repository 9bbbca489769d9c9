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
    const isOurs = (text: string, device = stick.device): string => {
      const config = stick.file("latchkey.toml");
      writeFileSync(config, text);
      const run = Bun.spawnSync([process.execPath, main, "stick", "is-ours", device, "--config", config]);
      return `${run.exitCode}: ${run.stdout.toString().trim()}`;
    };
    const alone = `1: ${stick.device} is left alone:`;
    expect(isOurs(configuration(STICK_UUID.toUpperCase(), true))).toBe("0: ");
    // A loop device is not removable.
    expect(isOurs(configuration(STICK_UUID, false))).toBe(`${alone} it is neither removable nor on a USB bus`);
    expect(isOurs(configuration(STICK_UUID.replace("1", "2"), true))).toBe(
      `${alone} ext4 ${STICK_UUID} is no stick of the configuration`,
    );
    expect(isOurs("")).toBe(`${alone} the configuration has no stick`);
    expect(isOurs(configuration(STICK_UUID, true), "/dev/none")).toBe(
      "1: /dev/none is left alone: it is not there any longer",
    );
  });
});
