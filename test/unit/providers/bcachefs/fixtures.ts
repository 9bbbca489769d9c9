import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { KeyDeriver } from "../../../../src/providers/bcachefs/derive.ts";
import { WorkerKeyDeriver } from "../../../../src/providers/bcachefs/derive.ts";
import { parametersText } from "../../../../src/providers/bcachefs/key.ts";
import type { OpenBlockReader } from "../../../../src/system/block-devices.ts";
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
export function fixtureBytes(file: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(readFileSync(folder + file));
  return file.endsWith(".zst") ? new Uint8Array(Bun.zstdDecompressSync(bytes)) : bytes;
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
