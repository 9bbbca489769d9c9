import { describe, expect, test } from "bun:test";
import { headerFilesForImage, tokensForInitrd } from "../../../src/commands/header-tokens.ts";
import { monotonicClock } from "../../../src/system/clock.ts";
import { planOf } from "../config/machine.ts";
import { headerBytes, uuidOf } from "../providers/luks/fixtures.ts";
import { luksScene, StubCryptsetup } from "../providers/luks/machine.ts";

/** What the header of `argon2id` on /dev/vda2 gives, for a configuration and the devices below the root. */
async function found(files: Parameters<typeof planOf>[0], below?: readonly string[]): Promise<readonly string[]> {
  const { provider, devices } = luksScene(new StubCryptsetup().run, { ticking: monotonicClock });
  devices.add("/dev/vda2", headerBytes("argon2id"), `UUID=${uuidOf.argon2id}`);
  const tokens = await tokensForInitrd(planOf(files), new Map([["luks", provider]]), below && new Set(below));
  return tokens.map(({ origin }) => origin);
}

const both = ["token 0 in the header of /dev/vda2", "token 4 in the header of /dev/vda2"];
const crypttab = (options = "") => ({ crypttab: `data UUID=${uuidOf.argon2id} none luks${options}` });

describe("the tokens that an initrd will open", () => {
  test("are those below the root file system", async () => {
    expect(await found(crypttab(), ["dm-0", "vda2"])).toEqual(both);
    expect(await found(crypttab(), ["vdb"])).toEqual([]);
  });

  test("are all where nobody knows what the root lies on", async () => {
    expect(await found(crypttab())).toEqual(both);
  });

  test("are those that crypttab wants there, wherever they lie, and none that is not opened at boot", async () => {
    expect(await found(crypttab(",x-initrd.attach"), ["vdb"])).toEqual(both);
    expect(await found(crypttab(",initramfs"), ["vdb"])).toEqual(both);
    expect(await found(crypttab(",initramfs,noauto"), ["vda2"])).toEqual([]);
  });

  test("are those of latchkey.toml", async () => {
    const toml = `[volumes.data]\nkind = "luks"\ndevice = "UUID=${uuidOf.argon2id}"\n`;
    expect(await found({ toml }, ["vdb"])).toEqual(both);
    expect(await found({ toml: `${toml}sources = ["prompt"]\n` }, ["vdb"])).toEqual([]);
  });

  test("are none of a device that is not there, and no error", async () => {
    expect(await found({ crypttab: `gone UUID=${uuidOf.luks1} none luks` })).toEqual([]);
  });
});

test("headers that are files go into an image, and those on devices do not", () => {
  const plan = planOf({
    crypttab:
      "a /dev/a none header=/boot/a.hdr\nb /dev/b none header=/dev/sdz\nc /dev/c none header=LABEL=h\nd /dev/d none header=/d,noauto",
  });
  expect(headerFilesForImage(plan)).toEqual(["/boot/a.hdr"]);
});
