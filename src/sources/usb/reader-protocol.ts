import { type ErrorCode, errorTable } from "../../system/error-table.ts";
import { LatchkeyError } from "../../system/errors.ts";
import type { FilesystemType } from "../../system/mounts.ts";

/** What the reader is asked for, one line of JSON each. No secret is in it, and none in the answers: keys go by the key room. */
export type ReaderJob =
  | {
      readonly do: "identify";
      readonly device: string;
      /** For a partition: the disk that has its table, and its number there. */
      readonly partitionOf?: { readonly disk: string; readonly number: number };
    }
  | { readonly do: "read-file"; readonly device: string; readonly type: FilesystemType; readonly path: string }
  | { readonly do: "read-raw"; readonly device: string; readonly offset: number; readonly size: number };

/** What is on a device, told without mounting it. */
export interface DeviceIdentity {
  /** More than one: traces of several, and which of them is meant nobody knows. */
  readonly filesystems: readonly { readonly type: FilesystemType; readonly uuid: string }[];
  /** PARTUUID, in lower case. */
  readonly partition?: string | undefined;
}

export type ReaderAnswer =
  | { readonly is: "identity"; readonly identity: DeviceIdentity }
  /** The key is at the start of the room. */
  | { readonly is: "read"; readonly length: number }
  | { readonly is: "failed"; readonly code: string; readonly message: string; readonly hint?: string | undefined };

export function failureOf({ code, message, hint }: LatchkeyError): ReaderAnswer {
  return { is: "failed", code, message, ...(hint === undefined ? {} : { hint }) };
}

/** The error as it was thrown in the reader. */
export function errorOf({ code, message, hint }: Extract<ReaderAnswer, { is: "failed" }>): LatchkeyError {
  const known = Object.hasOwn(errorTable, code) ? (code as ErrorCode) : "internal/defect";
  return new LatchkeyError(known, message, hint === undefined ? {} : { hint });
}
