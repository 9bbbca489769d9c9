import { type Pointer, toArrayBuffer } from "bun:ffi";
import { DERIVED_KEY_BYTES, type ScryptParameters, scryptInto } from "./scrypt.ts";

declare const self: Worker;

/**
 * What derive.ts sends: addresses of secret pages, since all threads share the process's memory and a message would copy.
 * The sender keeps the pages alive until the answer.
 */
export interface DeriveJob {
  readonly passphrase: { readonly address: number; readonly length: number };
  readonly parameters: ScryptParameters;
  /** Room for 32 bytes. */
  readonly keyAddress: number;
}

export type DeriveAnswer =
  | { readonly is: "ready" }
  | { readonly is: "derived" }
  | { readonly is: "failed"; readonly reason: string };

function memory(address: number, length: number): Uint8Array {
  return length === 0 ? new Uint8Array() : new Uint8Array(toArrayBuffer(address as Pointer, 0, length));
}

function answer(message: DeriveAnswer): void {
  self.postMessage(message);
}

self.onmessage = ({ data }: MessageEvent<DeriveJob>) => {
  try {
    const { passphrase, parameters, keyAddress } = data;
    scryptInto(memory(passphrase.address, passphrase.length), parameters, memory(keyAddress, DERIVED_KEY_BYTES));
    answer({ is: "derived" });
  } catch (thrown) {
    answer({ is: "failed", reason: thrown instanceof Error ? thrown.message : "unknown" });
  }
};

answer({ is: "ready" });
