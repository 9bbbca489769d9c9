import { expect, test } from "bun:test";
import { logged, unpacking } from "../../bench/kernel-log.ts";

const LOG = `[    1.612345] Trying to unpack rootfs image as initramfs...
[    4.162345] Freeing initrd memory: 62356K
[    4.900001] Run /init as init process
[    9.123456] virtio_blk virtio1: [vda] 196608 512-byte logical blocks (101 MB/96.0 MiB)
[   12.000001] EXT4-fs (dm-0): mounted filesystem 6c617463 ro with ordered data mode.
`;

test("the first line with the words counts, and a line that is missing is no number", () => {
  expect(logged(LOG, "Run /init")).toBe(4.900001);
  expect(logged(LOG, "[vda]")).toBe(9.123456);
  expect(logged(LOG, /EXT4-fs \(dm-\d+\): mounted/)).toBe(12.000001);
  expect(logged(LOG, "bcachefs")).toBeNaN();
});

test("unpacking is from the try to the end", () => {
  expect(unpacking(LOG)).toBeCloseTo(2.55, 6);
});
