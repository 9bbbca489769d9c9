import { describe, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { parseCrypt, parseMembers, walkFields } from "../../../../src/providers/bcachefs/fields.ts";
import { parseLayout } from "../../../../src/providers/bcachefs/layout.ts";
import { readSuperblock } from "../../../../src/providers/bcachefs/read.ts";
import { parseHeader } from "../../../../src/providers/bcachefs/superblock.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { editSuperblocks, failureOf, fixtureBytes, MemoryReader } from "./fixtures.ts";

// Thousands of runs, on machines that may be busy.
setDefaultTimeout(120_000);

/** Runs a parser that may refuse, but only with our error. */
async function survives(read: () => unknown): Promise<void> {
  try {
    await read();
  } catch (thrown) {
    if (!(thrown instanceof LatchkeyError)) throw thrown;
    expect(thrown.code).not.toBe("internal/defect");
  }
}

describe("whatever is on the disk", () => {
  const head = fixtureBytes("cases/changed.bin");

  test("a device cut at any offset of its first 12 KiB gives a superblock or our error", async () => {
    for (let length = 0; length <= head.length; length++) {
      await survives(() => readSuperblock(new MemoryReader(head.subarray(0, length))));
    }
  });

  test("any flipped bit of layout sector and superblock gives a superblock or our error", async () => {
    const end = 4096 + 4536;
    for (let offset = 3584; offset < end; offset++) {
      const bytes = head.slice();
      const bit = offset % 8;
      bytes[offset] = (bytes[offset] ?? 0) ^ (1 << bit);
      await survives(() => readSuperblock(new MemoryReader(bytes)));
    }
  });

  test("changed bytes under a right checksum never give anything but our error", async () => {
    const change = fc.record({ offset: fc.integer({ min: 16, max: 4535 }), value: fc.nat(255) });
    const property = fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 8 }), async (changes) => {
      const bytes = head.slice();
      await survives(async () => {
        editSuperblocks(bytes, [8], ({ view }) => {
          for (const { offset, value } of changes) view.setUint8(offset, value);
        });
        await readSuperblock(new MemoryReader(bytes), true);
      });
    });
    await fc.assert(property, { numRuns: 2000 });
  });

  test("random bytes are refused by every parser", async () => {
    const property = fc.asyncProperty(fc.uint8Array({ maxLength: 2048 }), fc.nat(300), async (bytes, slots) => {
      await survives(() => readSuperblock(new MemoryReader(bytes)));
      await survives(() => parseHeader(bytes, 8n));
      await survives(() => parseLayout(bytes));
      await survives(() => {
        const fields = walkFields(bytes.subarray(0, bytes.length - (bytes.length % 8)));
        parseCrypt(fields);
        parseMembers(fields, slots);
      });
    });
    await fc.assert(property, { numRuns: 500 });
  });

  test("random fields of plausible shape are refused by our error or read", async () => {
    const field = fc.record({
      words: fc.oneof(fc.nat(20), fc.nat(0xffffffff)),
      type: fc.oneof(fc.constantFrom(1, 2, 11), fc.nat(0xffffffff)),
      body: fc.uint8Array({ minLength: 0, maxLength: 160 }),
    });
    const property = fc.asyncProperty(
      fc.array(field, { maxLength: 6 }),
      fc.integer({ min: 1, max: 255 }),
      async (list, slots) => {
        const area = new Uint8Array(8 * list.reduce((sum, { body }) => sum + 1 + Math.ceil(body.length / 8), 0));
        const view = new DataView(area.buffer);
        let offset = 0;
        for (const { words, type, body } of list) {
          view.setUint32(offset, words, true);
          view.setUint32(offset + 4, type, true);
          area.set(body, offset + 8);
          offset += 8 * (1 + Math.ceil(body.length / 8));
        }
        await survives(() => {
          const fields = walkFields(area);
          parseCrypt(fields);
          parseMembers(fields, slots);
        });
      },
    );
    await fc.assert(property, { numRuns: 1000 });
  });

  test("a layout of 61 copies of 32 MiB each costs neither time nor memory", async () => {
    const image = new Uint8Array(80 * 1024 * 1024);
    image.set(head);
    const layout = (view: DataView, offset: number): void => {
      view.setUint8(offset + 17, 16);
      view.setUint8(offset + 18, 61);
      for (let copy = 0; copy < 61; copy++) view.setBigUint64(offset + 24 + 8 * copy, 8n + BigInt(copy) * 65536n, true);
    };
    // Two copies of 32 MiB lie within the device, newest last, so that both would have to be read.
    image.copyWithin((8 + 65536) * 512, 4096, 4096 + 4536);
    layout(new DataView(image.buffer), 3584);
    editSuperblocks(
      image,
      [8, 8 + 65536],
      ({ view }, sector) => {
        layout(view, 240);
        view.setBigUint64(104, BigInt(sector), true);
        view.setBigUint64(112, BigInt(sector), true);
        view.setUint32(124, (32 * 1024 * 1024 - 752) / 8, true);
        // One unknown field over all the rest, so that the walk is content.
        view.setUint32(752, (32 * 1024 * 1024 - 752) / 8, true);
        view.setUint32(756, 4711, true);
      },
      32 * 1024 * 1024,
    );
    const reader = new MemoryReader(image);
    const before = process.cpuUsage();
    const failure = await failureOf(readSuperblock(reader, true));
    expect(process.cpuUsage(before).user / 1000).toBeLessThan(1000);
    expect(reader.bytesRead).toBeLessThan(41 * 1024 * 1024);
    expect(failure.message).toContain("the member table is missing");
    expect(failure.message).toContain("larger than any real superblock");
    expect(failure.message.length).toBeLessThan(500);
  });

  test("sector numbers near 2^64 are beyond the device, not an overflow", async () => {
    const image = fixtureBytes("cases/default.img.zst");
    editSuperblocks(image, [8], ({ view }) => {
      view.setBigUint64(240 + 24 + 8, 0xffffffffffff0000n, true);
      view.setUint8(240 + 18, 2);
    });
    const { copies } = await readSuperblock(new MemoryReader(image));
    expect(copies.map(({ problem }) => problem)).toEqual([undefined, "it lies beyond the end of the device"]);
  });

  test("a real bcache device, which has the old magic, is not taken for bcachefs", async () => {
    const bytes = new Uint8Array(64 * 1024);
    bytes.set(Uint8Array.fromHex("c68573f64e1a45ca8265f57f48ba6d81"), 4096 + 24);
    bytes.fill(7, 4096 + 40, 4096 + 2000);
    const failure = await failureOf(readSuperblock(new MemoryReader(bytes)));
    expect(failure.outcome).toBe("failed");
  });
});
