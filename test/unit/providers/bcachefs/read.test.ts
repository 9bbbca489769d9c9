import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { checkedParameters } from "../../../../src/providers/bcachefs/key.ts";
import { readSuperblock } from "../../../../src/providers/bcachefs/read.ts";
import { versionText } from "../../../../src/providers/bcachefs/superblock.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { editSuperblocks, failureOf, fieldOffset, fixtureBytes, MemoryReader, manifest } from "./fixtures.ts";

// Images unpack to 64 MiB, which a busy machine takes its time for.
setDefaultTimeout(120_000);

const COPIES = [8, 2056, 129024];

/** A reader whose device gives an I/O error in some places. */
class FailingReader extends MemoryReader {
  readonly #isBad: (offset: number) => boolean;

  constructor(bytes: Uint8Array, isBad: (offset: number) => boolean) {
    super(bytes);
    this.#isBad = isBad;
  }

  override async readAt(offset: number, length: number): Promise<Uint8Array> {
    if (this.#isBad(offset)) throw new LatchkeyError("device/unreadable", "/dev/test cannot be read: EIO");
    return await super.readAt(offset, length);
  }
}

const devices = manifest.cases.flatMap((each) => each.devices.map((device) => ({ each, device })));

describe("superblocks made by the real tool", () => {
  const files = devices.flatMap(({ each, device }) => [
    { file: device.head, each, device },
    { file: device.image, each, device },
  ]);

  test.each(files)("$file is read as the manifest says", async ({ file, each, device }) => {
    const { superblock, copies } = await readSuperblock(new MemoryReader(fixtureBytes(file)), true);
    expect(superblock).toMatchObject({
      externalUuid: each.external_uuid,
      internalUuid: each.internal_uuid,
      label: each.label,
      sequence: BigInt(device.sequence),
      checksumType: device.checksum_type,
      totalBytes: device.superblock_bytes,
      deviceIndex: device.device_index,
    });
    expect(versionText(superblock.version)).toBe(each.version);
    expect(superblock.self?.uuid).toBe(device.member_uuid);
    expect(superblock.members.length).toBe(each.devices_in_filesystem);
    expect(superblock.members.every(({ state }) => state === "rw")).toBe(true);
    expect(superblock.layout.sectors.map(Number)).toEqual([...device.superblock_sectors]);
    expect(copies.map(({ sector }) => Number(sector))).toEqual([...device.superblock_sectors]);
    expect(copies.filter(({ problem }) => problem === undefined).length).toBe(file.endsWith(".bin") ? 1 : 3);
    expect(superblock.crypt !== undefined).toBe(each.encrypted);
    expect(superblock.crypt?.isClear ?? true).toBe(!each.passphrase_needed);
    if (each.kdf && superblock.crypt) {
      const { kdfType, log2N, log2R, log2P } = superblock.crypt;
      expect({ type: kdfType, log2_n: log2N, log2_r: log2R, log2_p: log2P }).toEqual(each.kdf);
    }
  });

  test("a good device costs no more than its primary and a look at the backups", async () => {
    const reader = new MemoryReader(fixtureBytes("cases/changed.img.zst"));
    const { superblock } = await readSuperblock(reader);
    expect(reader.bytesRead).toBe(superblock.totalBytes + 4 * 752);
  });
});

describe("damaged superblocks", () => {
  test.each(manifest.damaged)("$name: $expect ($reason)", async ({ file, expect: outcome, external_uuid }) => {
    const reader = new MemoryReader(fixtureBytes(file));
    const before = process.cpuUsage();
    const attempt = readSuperblock(reader).then(({ superblock }) => {
      if (superblock.crypt) checkedParameters(superblock.crypt, reader.path);
      return superblock;
    });
    if (outcome === "reject") {
      const failure = await failureOf(attempt);
      expect(failure.outcome).toBe("failed");
      expect(failure.message).toContain("/dev/test");
      expect(failure.message).toMatch(/^[^\nA-Z]/);
    } else {
      expect((await attempt).externalUuid).toBe(external_uuid ?? "");
    }
    expect(process.cpuUsage(before).user / 1000).toBeLessThan(1000);
    expect(reader.bytesRead).toBeLessThan(64 * 1024);
  });

  test.each([
    ["bad-magic-all", "sector 8, 2056, 129024: no bcachefs magic"],
    ["bad-checksum-all", "the checksum does not match"],
    ["truncated-header", "the device ends inside the superblock"],
    ["u64s-huge", "claims 34359739112 bytes, its layout allows 1048576"],
    ["layout-overlap", "lets copy 1 overlap copy 0"],
    ["wrong-offset", "says it is at sector 999"],
    ["version-2.0", "bcachefs version 2.0 is not known"],
    ["csum-type-60", "checksum type 60"],
    ["zeros", "/dev/test holds no bcachefs superblock"],
    ["empty", "/dev/test holds no bcachefs superblock"],
  ])("%s says what is wrong: %s", async (name, words) => {
    const file = manifest.damaged.find((each) => each.name === name)?.file ?? "";
    const failure = await failureOf(readSuperblock(new MemoryReader(fixtureBytes(file))));
    expect(failure.message).toContain(words);
  });

  test("a primary that cannot be read is made up for by a backup", async () => {
    const image = fixtureBytes("cases/changed.img.zst");
    const { superblock } = await readSuperblock(new FailingReader(image, (offset) => offset === 4096));
    expect(superblock.sector).toBe(2056n);
  });

  test("a device that cannot be read at all gives its own error, not one about bcachefs", async () => {
    const failure = await failureOf(readSuperblock(new FailingReader(fixtureBytes("cases/changed.bin"), () => true)));
    expect(failure.code).toBe("device/unreadable");
  });

  test("the newest copy wins, wherever it is", async () => {
    for (const newest of COPIES) {
      const image = fixtureBytes("cases/changed.img.zst");
      editSuperblocks(image, COPIES, ({ view }, sector) => view.setBigUint64(112, sector === newest ? 99n : 17n, true));
      const { superblock } = await readSuperblock(new MemoryReader(image));
      expect([superblock.sector, superblock.sequence]).toEqual([BigInt(newest), 99n]);
    }
  });

  test("when the newest copy's fields are bad, the next one is taken", async () => {
    const image = fixtureBytes("cases/changed.img.zst");
    editSuperblocks(image, [2056], (edit) => {
      edit.view.setBigUint64(112, 99n, true);
      edit.view.setUint32(fieldOffset(edit, 2), 0, true);
    });
    const { superblock, copies } = await readSuperblock(new MemoryReader(image));
    expect(superblock.sequence).toBe(17n);
    expect(copies.find(({ sector }) => sector === 2056n)?.problem).toContain("has length 0");
  });

  test.each([
    ["a removed device", "ffffffffffffffffd96a60cf803df7ef"],
    ["a free slot", "00000000000000000000000000000000"],
  ])("%s is no member", async (_, uuid) => {
    const image = fixtureBytes("cases/multi-a.img.zst");
    editSuperblocks(image, COPIES, (edit) => {
      const table = fieldOffset(edit, 11);
      edit.bytes.set(Uint8Array.fromHex(uuid), table + 16 + edit.view.getUint16(table + 8, true));
    });
    const { superblock } = await readSuperblock(new MemoryReader(image));
    expect(superblock.members.map(({ index }) => index)).toEqual([0]);
  });

  test("where the member table of version 2 is missing, that of version 1 serves, and one of them must be there", async () => {
    const image = fixtureBytes("cases/multi-b.img.zst");
    const hide = (type: number): void => {
      editSuperblocks(image, COPIES, (edit) => edit.view.setUint32(fieldOffset(edit, type) + 4, 4711, true));
    };
    const { superblock: before } = await readSuperblock(new MemoryReader(image));
    hide(11);
    const { superblock: after } = await readSuperblock(new MemoryReader(image));
    expect(after.members.map(({ uuid }) => uuid)).toEqual(before.members.map(({ uuid }) => uuid));
    hide(1);
    expect((await failureOf(readSuperblock(new MemoryReader(image)))).message).toContain("the member table is missing");
  });

  test("a label cannot break a line or turn the text around", async () => {
    const image = fixtureBytes("cases/label.img.zst");
    editSuperblocks(image, COPIES, ({ bytes }) => {
      bytes.fill(0, 72, 104);
      bytes.set(new TextEncoder().encode("a\n\u001b[2Jb\u202ec"), 72);
    });
    const { superblock } = await readSuperblock(new MemoryReader(image));
    expect(superblock.label).toBe("a\ufffd\ufffd[2Jb\ufffdc");
  });
});
