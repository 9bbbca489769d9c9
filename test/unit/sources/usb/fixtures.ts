import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { BlockReader } from "../../../../src/system/block-devices.ts";

const folder = join(import.meta.dir, "../../../fixtures/usb");

/** The first bytes of an image that a real tool made. */
export function fixture(name: string): Uint8Array {
  const bytes = readFileSync(join(folder, name));
  return new Uint8Array(name.endsWith(".gz") ? Bun.gunzipSync(bytes) : bytes);
}

/** A device that holds these bytes and nothing after them. */
export function deviceWith(bytes: Uint8Array): BlockReader {
  return {
    path: "/dev/test",
    size: bytes.length,
    readAt: (offset, length) => Promise.resolve(bytes.slice(offset, offset + length)),
  };
}
