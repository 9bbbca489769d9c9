/** Writes cpio archives in the "newc" format of the kernel's initramfs (Documentation/driver-api/early-userspace/buffer-format). */

export interface CpioEntry {
  readonly path: string;
  /** File type and permissions, as in stat(2). */
  readonly mode: number;
  readonly content: Uint8Array;
}

const MAGIC = "070701";
const END_OF_ARCHIVE = "TRAILER!!!";

/** Names and contents each start at a multiple of four. */
const padding = (length: number): Uint8Array => new Uint8Array((4 - (length % 4)) % 4);

function member(entry: CpioEntry, inode: number): Uint8Array[] {
  const name = new TextEncoder().encode(`${entry.path}\0`);
  // Everything belongs to root and was made at the epoch: the same input gives the same bytes.
  const owner = 0;
  const links = 1;
  const [device, checksum] = [0, 0];
  const fields = [
    ...[inode, entry.mode, owner, owner, links, 0, entry.content.length],
    ...[device, device, device, device, name.length, checksum],
  ];
  const header = new TextEncoder().encode(MAGIC + fields.map((field) => field.toString(16).padStart(8, "0")).join(""));
  return [header, name, padding(header.length + name.length), entry.content, padding(entry.content.length)];
}

/** An archive of these entries, in this order: directories before what is in them. */
export function newc(entries: readonly CpioEntry[]): Uint8Array {
  const end: CpioEntry = { path: END_OF_ARCHIVE, mode: 0, content: new Uint8Array(0) };
  return Buffer.concat([...entries, end].flatMap((entry, index) => member(entry, index + 1)));
}
