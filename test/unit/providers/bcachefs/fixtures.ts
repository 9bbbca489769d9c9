import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { checksum, checksumType } from "../../../../src/providers/bcachefs/checksum.ts";
import type { KeyDeriver } from "../../../../src/providers/bcachefs/derive.ts";
import { WorkerKeyDeriver } from "../../../../src/providers/bcachefs/derive.ts";
import { parametersText } from "../../../../src/providers/bcachefs/key.ts";
import type { OpenBlockReader } from "../../../../src/system/block-devices.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";

/** What the manifest of the fixtures says of one device. */
export interface FixtureDevice {
  readonly name: string;
  readonly head: string;
  readonly image: string;
  readonly superblock_bytes: number;
  readonly device_index: number;
  readonly member_uuid: string;
  readonly sequence: number;
  readonly superblock_sectors: readonly number[];
  readonly checksum_type: number;
}

export interface FixtureCase {
  readonly name: string;
  readonly external_uuid: string;
  readonly internal_uuid: string;
  readonly label: string;
  readonly version: string;
  readonly devices_in_filesystem: number;
  readonly encrypted: boolean;
  readonly passphrase_needed: boolean;
  readonly devices: readonly FixtureDevice[];
  readonly kdf?: { readonly type: number; readonly log2_n: number; readonly log2_r: number; readonly log2_p: number };
  readonly passphrase?: string;
  readonly key_description?: string;
  readonly passphrase_key_hex?: string;
  readonly master_key_hex?: string;
  readonly wrong_passphrases?: readonly string[];
}

export interface DamagedCase {
  readonly name: string;
  readonly file: string;
  readonly expect: "unlock" | "wrong-passphrase" | "reject";
  readonly reason: string;
  readonly passphrase: string;
  readonly external_uuid?: string;
  readonly passphrase_key_hex?: string;
  readonly key_description?: string;
}

interface Manifest {
  readonly cases: readonly FixtureCase[];
  readonly damaged: readonly DamagedCase[];
  readonly passphrase_input: readonly {
    readonly bytes_hex: string;
    readonly file_1_13: string;
    readonly stdin_1_13: string;
    readonly file_1_39_2: string | null;
  }[];
}

const folder = fileURLToPath(new URL("../../../fixtures/bcachefs/", import.meta.url));

export const manifest: Manifest = JSON.parse(readFileSync(`${folder}manifest.json`, "utf8"));

export function fixtureCase(name: string): FixtureCase {
  const found = manifest.cases.find((each) => each.name === name);
  if (!found) throw new Error(`no fixture ${name}`);
  return found;
}

/** A fixture's bytes; images come unpacked, 64 MiB. */
export function fixtureBytes(file: string): Uint8Array {
  const bytes = readFileSync(folder + file);
  const { buffer, byteOffset, length } = file.endsWith(".zst") ? Bun.zstdDecompressSync(bytes) : bytes;
  return new Uint8Array(buffer, byteOffset, length);
}

/** A device in memory that keeps count of what was read from it. */
export class MemoryReader implements OpenBlockReader {
  readonly path: string;
  readonly size: number;
  readonly #bytes: Uint8Array;
  bytesRead = 0;
  isOpen = true;

  constructor(bytes: Uint8Array, path = "/dev/test") {
    this.path = path;
    this.size = bytes.length;
    this.#bytes = bytes;
  }

  readAt(offset: number, length: number): Promise<Uint8Array> {
    const part = this.#bytes.slice(offset, offset + length);
    this.bytesRead += part.length;
    return Promise.resolve(part);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.isOpen = false;
    return Promise.resolve();
  }
}

export function secretOf(content: string | Uint8Array): SecretBytes {
  return SecretBytes.take(typeof content === "string" ? new TextEncoder().encode(content) : content.slice());
}

const derivedBefore = new Map<string, Promise<Uint8Array>>();

/** Derives each passphrase once per test run, since 0.4 s add up. */
export const rememberingDeriver: KeyDeriver = {
  prepare: () => undefined,
  async derive(passphrase, parameters) {
    const name = `${parametersText(parameters)} ${passphrase.bytes.toHex()}`;
    const made =
      derivedBefore.get(name) ??
      new WorkerKeyDeriver().derive(passphrase, parameters).then((key) => {
        using scope = key;
        return scope.bytes.slice();
      });
    derivedBefore.set(name, made);
    return secretOf(await made);
  },
  [Symbol.dispose]: () => undefined,
};

/** A superblock in an image, to be changed by a test. */
export interface SuperblockEdit {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/**
 * Changes copies of the superblock in place and makes their checksums right again.
 * @param room bytes from the start of each copy that `change` may touch
 */
export function editSuperblocks(
  image: Uint8Array,
  sectors: readonly number[],
  change: (edit: SuperblockEdit, sector: number) => void,
  room = 16 * 1024,
): void {
  for (const sector of sectors) {
    const bytes = image.subarray(sector * 512, Math.min(image.length, sector * 512 + room));
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    change({ bytes, view }, sector);
    const type = checksumType((view.getUint8(144) >> 2) & 0x3f);
    const total = Math.min(bytes.length, 752 + 8 * view.getUint32(124, true));
    view.setBigUint64(0, checksum(type, bytes.subarray(16, total)), true);
    view.setBigUint64(8, 0n, true);
  }
}

/** Offset of the first field of a type in a superblock. */
export function fieldOffset({ view }: SuperblockEdit, type: number): number {
  for (let offset = 752; ; offset += 8 * view.getUint32(offset, true)) {
    if (view.getUint32(offset + 4, true) === type) return offset;
  }
}

/** What a promise is rejected with; fails the test when that is not our error. */
export async function failureOf(attempt: Promise<unknown>): Promise<LatchkeyError> {
  try {
    await attempt;
  } catch (thrown) {
    if (thrown instanceof LatchkeyError) return thrown;
    throw thrown;
  }
  throw new Error("nothing was thrown");
}
