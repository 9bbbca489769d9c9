import { describe, expect, test } from "bun:test";
import { describeSuperblock, descriptionText } from "../../../../src/providers/bcachefs/describe.ts";
import { fixtureBytes, fixtureCase, MemoryReader, manifest } from "./fixtures.ts";

const described = (file: string) => describeSuperblock(new MemoryReader(fixtureBytes(file), "/dev/sda2"));

describe("inspecting a superblock", () => {
  test("as text", async () => {
    expect(descriptionText(await described("cases/stale-b.bin"))).toBe(`device         /dev/sda2
kind           bcachefs 1.13
uuid           eb5cab0e-8408-4ec8-9ef6-d8e3ade07a43
internal uuid  8090061e-afab-4dbf-a703-1bb36eb0f621
label          none
encryption     passphrase, scrypt N=2^14 r=2^3 p=2^4, 16 MiB
superblock     4744 bytes, sequence 22, checksum crc32c
member 0       39803f9c-9e62-4479-8b38-c7289a4c5762, rw, sequence 22
member 1       327bdc6d-f9c6-4a1d-9b16-f91dde053645, rw, sequence 22 (this device)
copy           sector 8: good, sequence 22
copy           sector 2056: it lies beyond the end of the device
copy           sector 129024: it lies beyond the end of the device
`);
  });

  test.each([
    ["cases/plain.bin", { state: "none" }],
    ["cases/nopass.bin", { state: "unprotected" }],
    [
      "cases/default.bin",
      { state: "passphrase", kdf: "scrypt", log2: { N: 14, r: 3, p: 4 }, memoryBytes: 16 * 2 ** 20 },
    ],
  ])("%s: encryption %j", async (file, encryption) => {
    const description = await described(file);
    expect(description.encryption as object).toEqual(encryption);
    expect(descriptionText(description)).toContain("encryption");
  });

  test("numbers out of bounds are shown with the reason", async () => {
    const { encryption } = await described("damaged/scrypt-n65535.img.zst");
    expect(encryption).toMatchObject({ state: "passphrase", log2: { N: 65535, r: 65535, p: 65535 } });
    expect(JSON.stringify(encryption)).toContain("costs more than any real file system does");
  });

  test("every copy is looked at, and the bad one is shown with its reason", async () => {
    const { copies } = await described("damaged/bad-checksum-primary.img.zst");
    expect(copies.map(({ problem }) => problem)).toEqual(["the checksum does not match", null, null]);
    const stale = await described("damaged/stale-primary.img.zst");
    expect(stale.copies.map(({ sequence }) => sequence)).toEqual(["18", "22", "22"]);
  });

  test("holds no secret: no wrapped key, no master key, in any spelling", async () => {
    for (const each of manifest.cases) {
      const file = each.devices[0]?.head ?? "";
      const text = JSON.stringify(await described(file));
      for (const secret of [each.master_key_hex, each.passphrase_key_hex]) {
        if (secret) expect(text).not.toContain(secret.slice(0, 16));
      }
    }
    expect((await described(fixtureCase("nopass").devices[0]?.head ?? "")).encryption).toEqual({
      state: "unprotected",
    });
  });
});
