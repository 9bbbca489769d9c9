import { describe, expect, test } from "bun:test";
import { kindWithoutLink } from "../../../src/commands/device-kind.ts";
import { planFor } from "../../../src/commands/volume-argument.ts";
import { planOf } from "../config/machine.ts";
import { FakeDevices } from "../providers/bcachefs/fake-machine.ts";
import { headerBytes, uuidOf } from "../providers/luks/fixtures.ts";
import { HandClock } from "../unlock/fakes.ts";

/** Two LUKS volumes, a disk without one, and one that does not answer; udev has made no link. */
function machine(): FakeDevices {
  const devices = new FakeDevices();
  devices.add("/dev/sda", new Uint8Array(65536));
  devices.add("/dev/sdb", headerBytes("luks1"));
  devices.add("/dev/sdc", "dying");
  devices.add("/dev/sdd", headerBytes("pbkdf2"));
  return devices;
}

async function look(argument: string, devices = machine()) {
  const clock = new HandClock();
  const looking = kindWithoutLink(argument, devices, clock);
  await clock.advance(10_000);
  return await looking;
}

describe("a LUKS volume without a link of udev's", () => {
  test("is found by the UUID in its header, in either case, beside a disk that does not answer", async () => {
    expect(await look(`UUID=${uuidOf.pbkdf2}`)).toEqual({ kind: "luks", uuid: uuidOf.pbkdf2 });
    expect(await look(`UUID=${uuidOf.pbkdf2.toUpperCase()}`)).toEqual({ kind: "luks", uuid: uuidOf.pbkdf2 });
  });

  test("becomes a volume of its own, with what crypttab says of it", async () => {
    const argument = `UUID=${uuidOf.pbkdf2}`;
    const kind = await look(argument);
    expect(planFor(argument, planOf({}), kind).volumes).toMatchObject([{ kind: "luks", luks: { isUnnamed: true } }]);
    const crypttab = `data UUID=${uuidOf.pbkdf2} none luks,discard`;
    expect(planFor(argument, planOf({ crypttab }), kind).volumes[0]?.luks).toMatchObject({ mapping: "data" });
  });

  test.each([
    ["a UUID that no header has", "UUID=00000000-0000-4000-8000-000000000000"],
    ["a path", "/dev/sdb"],
    ["the name of a volume", "data"],
    ["another kind of link", "PARTUUID=1a2b3c4d-01"],
    ["an empty label", "LABEL="],
  ])("is not %s", async (_, argument) => {
    expect(await look(argument)).toBeUndefined();
  });

  test("is not looked for where there is a link: nothing is read", async () => {
    const devices = machine();
    devices.add("/dev/sdd", headerBytes("pbkdf2"), `UUID=${uuidOf.pbkdf2}`);
    expect(await look(`UUID=${uuidOf.pbkdf2}`, devices)).toBeUndefined();
    expect(devices.opened).toEqual([]);
  });
});
