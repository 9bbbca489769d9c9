import type { OpenBlockReader } from "../../system/block-devices.ts";
import { checksumName } from "./checksum.ts";
import { checkedParameters } from "./key.ts";
import { type CopyReport, readSuperblock } from "./read.ts";
import { type Superblock, versionText } from "./superblock.ts";

/** What a bcachefs superblock says, for `latchkey inspect`: plain data without secrets. 64-bit numbers are text. */
export interface SuperblockDescription {
  readonly kind: "bcachefs";
  readonly device: string;
  readonly uuid: string;
  readonly internalUuid: string;
  readonly label: string;
  readonly version: string;
  /** It was started at least once; before that set-passphrase writes nothing. */
  readonly started: boolean;
  readonly sequence: string;
  readonly checksum: string;
  readonly superblockBytes: number;
  readonly encryption: EncryptionDescription;
  readonly deviceIndex: number;
  readonly members: readonly MemberDescription[];
  readonly copies: readonly CopyDescription[];
}

export type EncryptionDescription =
  | { readonly state: "none" }
  /** Encrypted, with the key in clear beside it. */
  | { readonly state: "unprotected" }
  | {
      readonly state: "passphrase";
      readonly kdf: "scrypt";
      readonly log2: { readonly N: number; readonly r: number; readonly p: number };
      /** Bytes of memory one derivation takes; absent when the numbers are out of bounds. */
      readonly memoryBytes?: number;
      /** Why no passphrase could be tried. */
      readonly problem?: string;
    };

export interface MemberDescription {
  readonly slot: number;
  readonly uuid: string;
  readonly state: string;
  readonly sequence: string;
  readonly lastName: string;
  readonly isThisDevice: boolean;
}

export interface CopyDescription {
  readonly sector: string;
  readonly sequence: string | null;
  readonly problem: string | null;
}

/** @throws LatchkeyError as readSuperblock */
export async function describeSuperblock(reader: OpenBlockReader): Promise<SuperblockDescription> {
  const { superblock, copies } = await readSuperblock(reader, true);
  return {
    kind: "bcachefs",
    device: reader.path,
    uuid: superblock.externalUuid,
    internalUuid: superblock.internalUuid,
    label: superblock.label,
    version: versionText(superblock.version),
    started: superblock.isInitialised,
    sequence: superblock.sequence.toString(),
    checksum: checksumName(superblock.checksumType),
    superblockBytes: superblock.totalBytes,
    encryption: encryptionOf(superblock, reader.path),
    deviceIndex: superblock.deviceIndex,
    members: superblock.members.map((member) => ({
      slot: member.index,
      uuid: member.uuid,
      state: member.state,
      sequence: member.sequence.toString(),
      lastName: member.lastName,
      isThisDevice: member.index === superblock.deviceIndex,
    })),
    copies: copies.map(describeCopy),
  };
}

function describeCopy({ sector, sequence, problem }: CopyReport): CopyDescription {
  return { sector: sector.toString(), sequence: sequence?.toString() ?? null, problem: problem ?? null };
}

function encryptionOf({ crypt }: Superblock, path: string): EncryptionDescription {
  if (!crypt) return { state: "none" };
  if (crypt.isClear) return { state: "unprotected" };
  const log2 = { N: crypt.log2N, r: crypt.log2R, p: crypt.log2P };
  try {
    checkedParameters(crypt, path);
    return { state: "passphrase", kdf: "scrypt", log2, memoryBytes: 2 ** (log2.N + log2.r + 7) };
  } catch (thrown) {
    const problem = thrown instanceof Error ? thrown.message : "unknown";
    return { state: "passphrase", kdf: "scrypt", log2, problem };
  }
}

/** The same for people, one fact per line. */
export function descriptionText(description: SuperblockDescription): string {
  const facts: [string, string][] = [
    ["device", description.device],
    ["kind", `bcachefs ${description.version}${description.started ? "" : ", formatted and never started"}`],
    ["uuid", description.uuid],
    ["internal uuid", description.internalUuid],
    ["label", description.label === "" ? "none" : description.label],
    ["encryption", encryptionText(description.encryption)],
    [
      "superblock",
      `${description.superblockBytes} bytes, sequence ${description.sequence}, checksum ${description.checksum}`,
    ],
  ];
  for (const { slot, uuid, state, sequence, lastName, isThisDevice } of description.members) {
    const name = lastName === "" ? "" : `, last seen as ${lastName}`;
    facts.push([
      `member ${slot}`,
      `${uuid}, ${state}, sequence ${sequence}${name}${isThisDevice ? " (this device)" : ""}`,
    ]);
  }
  for (const { sector, sequence, problem } of description.copies) {
    facts.push(["copy", `sector ${sector}: ${problem ?? `good, sequence ${sequence}`}`]);
  }
  const width = Math.max(...facts.map(([name]) => name.length)) + 2;
  return facts.map(([name, value]) => `${name.padEnd(width)}${value}\n`).join("");
}

function encryptionText(encryption: EncryptionDescription): string {
  if (encryption.state === "none") return "none";
  if (encryption.state === "unprotected") return "yes, but without a passphrase: its key lies in clear on the disk";
  const { log2, memoryBytes, problem } = encryption;
  const cost = `scrypt N=2^${log2.N} r=2^${log2.r} p=2^${log2.p}`;
  return problem
    ? `passphrase, but it cannot be tried: ${problem}`
    : `passphrase, ${cost}, ${(memoryBytes ?? 0) / 2 ** 20} MiB`;
}
