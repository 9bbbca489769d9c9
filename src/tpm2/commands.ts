import { LatchkeyError } from "../system/errors.ts";
import { encodeSelection, type PcrSelection } from "./pcr-selection.ts";
import { TpmResponseError } from "./response-codes.ts";
import { HEADER_BYTES } from "./transport.ts";
import { concat, hexCode, sized, u16, u32, WireReader } from "./wire.ts";

/** Handles with a fixed meaning, TPM 2.0 Part 2 section 7.4. */
export const HANDLE = {
  owner: 0x40000001,
  null: 0x40000007,
  passwordSession: 0x40000009,
} as const;

/** A handle on the wire that a command is about, with the Name that a session's HMAC binds it by (Part 1 section 16). */
export interface NamedHandle {
  readonly handle: number;
  readonly name: Uint8Array;
}

/** Hierarchies, PCRs and sessions are their own Name. */
export function selfNamed(handle: number): NamedHandle {
  return { handle, name: u32(handle) };
}

/** One command before it is put into octets. */
export interface TpmCommand {
  /** As in Part 3, for messages. */
  readonly name: string;
  readonly code: number;
  readonly handles: readonly NamedHandle[];
  /** After the handles and the authorizations. A secret in here is already encrypted. */
  readonly parameters: Uint8Array;
  /** The response starts with a handle that has to be flushed some day. */
  readonly givesHandle?: boolean;
  /** The TPM makes a key: seconds, with RSA tens of them. */
  readonly slow?: boolean;
}

/** What came back: views of the response's octets. */
export interface TpmAnswer {
  /** 0 when the command gives none. */
  readonly handle: number;
  readonly parameters: Uint8Array;
  /** TPMS_AUTH_RESPONSE of each session, as they came; empty without sessions. */
  readonly authorizations: Uint8Array;
}

const TAG_NO_SESSIONS = 0x8001;
const TAG_SESSIONS = 0x8002;

/** TPM2_Create, _CreatePrimary and others: no creation PCRs are asked for (TPML_PCR_SELECTION with count 0). */
const NO_PCRS = u32(0);
const EMPTY = sized(new Uint8Array());

/** Part 3: command codes are those of Part 2 section 6.5.2. */
export const commands = {
  /** @param template TPMT_PUBLIC */
  createPrimary: (template: Uint8Array): TpmCommand => ({
    name: "CreatePrimary",
    code: 0x131,
    handles: [selfNamed(HANDLE.owner)],
    // TPM2B_SENSITIVE_CREATE with an empty password and no data, template, outsideInfo, creationPCR.
    parameters: concat(sized(concat(EMPTY, EMPTY)), sized(template), EMPTY, NO_PCRS),
    givesHandle: true,
    slow: true,
  }),

  /** @param sensitive TPM2B_SENSITIVE_CREATE, encrypted by the session; @param template TPMT_PUBLIC */
  create: (parent: NamedHandle, sensitive: Uint8Array, template: Uint8Array): TpmCommand => ({
    name: "Create",
    code: 0x153,
    handles: [parent],
    parameters: concat(sensitive, sized(template), EMPTY, NO_PCRS),
    slow: true,
  }),

  /** @param privateArea TPM2B_PRIVATE; @param publicArea TPM2B_PUBLIC */
  load: (parent: NamedHandle, privateArea: Uint8Array, publicArea: Uint8Array): TpmCommand => ({
    name: "Load",
    code: 0x157,
    handles: [parent],
    parameters: concat(privateArea, publicArea),
    givesHandle: true,
  }),

  unseal: (object: NamedHandle): TpmCommand => ({
    name: "Unseal",
    code: 0x15e,
    handles: [object],
    parameters: new Uint8Array(),
  }),

  flushContext: (handle: number): TpmCommand => ({
    name: "FlushContext",
    code: 0x165,
    handles: [],
    parameters: u32(handle), // a parameter here, not in the handle area
  }),

  /** @param symmetric TPMT_SYM_DEF; @param encryptedSalt without its length; @param authHash TPM_ALG_ID */
  startAuthSession: (
    saltKey: NamedHandle,
    nonce: Uint8Array,
    encryptedSalt: Uint8Array,
    type: number,
    symmetric: Uint8Array,
    authHash: number,
  ): TpmCommand => ({
    name: "StartAuthSession",
    code: 0x176,
    handles: [saltKey, selfNamed(HANDLE.null)],
    parameters: concat(sized(nonce), sized(encryptedSalt), Uint8Array.of(type), symmetric, u16(authHash)),
    givesHandle: true,
  }),

  /** Takes the values that the PCRs have now: no digest is sent. */
  policyPcr: (session: number, selection: PcrSelection): TpmCommand => ({
    name: "PolicyPCR",
    code: 0x17f,
    handles: [selfNamed(session)],
    parameters: concat(EMPTY, encodeSelection(selection)),
  }),

  pcrRead: (selection: PcrSelection): TpmCommand => ({
    name: "PCR_Read",
    code: 0x17e,
    handles: [],
    parameters: encodeSelection(selection),
  }),

  /** @param digests one per bank: its TPM_ALG_ID and a digest of its size */
  pcrExtend: (pcr: number, digests: readonly (readonly [bank: number, digest: Uint8Array])[]): TpmCommand => ({
    name: "PCR_Extend",
    code: 0x182,
    handles: [selfNamed(pcr)],
    parameters: concat(u32(digests.length), ...digests.flatMap(([bank, digest]) => [u16(bank), digest])),
  }),

  getCapability: (capability: number, property: number, count: number): TpmCommand => ({
    name: "GetCapability",
    code: 0x17a,
    handles: [],
    parameters: concat(u32(capability), u32(property), u32(count)),
  }),
};

/** The octets of a command. @param authorizations TPMS_AUTH_COMMAND of each session; nothing for a command without */
export function encodeCommand(command: TpmCommand, authorizations?: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const { handle } of command.handles) parts.push(u32(handle));
  if (authorizations) parts.push(u32(authorizations.length), authorizations);
  const body = concat(...parts, command.parameters);
  const tag = authorizations ? TAG_SESSIONS : TAG_NO_SESSIONS;
  return concat(u16(tag), u32(HEADER_BYTES + body.length), u32(command.code), body);
}

/**
 * Takes a response apart.
 * @throws TpmResponseError when the TPM did not do it; LatchkeyError tpm2/bad-answer when it is not a response to this
 */
export function decodeAnswer(command: TpmCommand, withSessions: boolean, response: Uint8Array): TpmAnswer {
  const reader = answerReader(command.name, response);
  const tag = reader.u16();
  if (reader.u32() !== response.length) throw reader.fail("its size is not the one it states");
  const rc = reader.u32();
  // A TPM 1.2 answers commands it does not know with its own tag, 0x00c4 (TPM_TAG_RSP_COMMAND, Part 2 section 6.9).
  if (tag === 0x00c4) throw new LatchkeyError("tpm2/absent", "this machine has a TPM 1.2, not a TPM 2.0");
  if (rc !== 0) throw new TpmResponseError(command.name, rc);
  if (tag !== (withSessions ? TAG_SESSIONS : TAG_NO_SESSIONS)) throw reader.fail(`its tag is ${hexCode(tag)}`);
  const handle = command.givesHandle ? reader.u32() : 0;
  const parameters = withSessions ? reader.bytes(reader.u32()) : reader.rest();
  return { handle, parameters, authorizations: reader.rest() };
}

/** A reader for what a TPM answered to a command: every fault is tpm2/bad-answer. */
export function answerReader(commandName: string, bytes: Uint8Array): WireReader {
  return new WireReader(bytes, `the TPM's answer to ${commandName}`, "tpm2/bad-answer");
}
