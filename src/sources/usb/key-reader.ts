import type { FilesystemType } from "../../system/mounts.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import type { DeviceIdentity, ReaderJob } from "./reader-protocol.ts";

/** A key on some device. */
export type KeyPlace =
  | { readonly on: string; readonly type: FilesystemType; readonly path: string }
  | { readonly on: string; readonly offset: number; readonly size: number };

/** Looks at foreign devices and reads keys from them without holding up the event loop, however the devices behave. */
export interface KeyReader {
  /** Gets ready before there is something to read; optional. */
  prepare(): void;
  /**
   * What is on a device, told without mounting anything.
   * @throws LatchkeyError device/…, key-file/no-answer
   */
  identify(device: string, partitionOf: PartitionOf | undefined, signal: AbortSignal): Promise<DeviceIdentity>;
  /**
   * The bytes of a key, read once, at most 8 MiB. The caller takes over their scope.
   * @throws LatchkeyError key-file/…
   */
  read(place: KeyPlace, signal: AbortSignal): Promise<SecretBytes>;
}

export type PartitionOf = NonNullable<Extract<ReaderJob, { do: "identify" }>["partitionOf"]>;
