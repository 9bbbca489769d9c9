import { readFileSync } from "node:fs";
import { join } from "node:path";

/** What `btrfs inspect-internal dump-super` says of one device. */
export interface BtrfsFixture {
  readonly name: string;
  readonly file: string;
  readonly checksum: string;
  readonly filesystem: string;
  readonly label: string;
  readonly devices: number;
  readonly device_id: number;
  readonly device_uuid: string;
  readonly generation: number;
}

const folder = join(import.meta.dir, "../../fixtures/btrfs");

export const btrfsFixtures = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8")) as readonly BtrfsFixture[];

/** The superblock of a device that mkfs.btrfs made. */
export function btrfsBytes(name: string): Uint8Array {
  return Bun.zstdDecompressSync(readFileSync(join(folder, `${name}.sb.zst`)));
}
