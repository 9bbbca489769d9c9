import type { ErrorCode } from "../system/error-table.ts";
import { LatchkeyError } from "../system/errors.ts";
import { hexCode } from "./wire.ts";

/** Response codes that latchkey acts on, TPM 2.0 Part 2 section 6.6.3. */
export const RC = {
  success: 0x000,
  pcrChanged: 0x128,
  objectMemory: 0x902,
  yielded: 0x908,
  testing: 0x90a,
  lockout: 0x921,
  retry: 0x922,
} as const;

/** The TPM did nothing and asks to get the same command again. */
export function isRetry(rc: number): boolean {
  return rc === RC.retry || rc === RC.yielded || rc === RC.testing;
}

/** A response code taken apart, Part 2 section 6.6.2. */
export interface DecodedCode {
  /** `parameter 2`, `handle 1`, `session 1`, or nothing where the code names none. */
  readonly about: string | undefined;
  /** The code without the part that says what it is about: 0x09f for 0x1df. */
  readonly base: number;
}

const FORMAT_ONE = 0x080;
const PARAMETER = 0x040;
const SESSION = 0x800;

/** Layers above the TPM (the kernel's resource manager) put their number in the upper half; the meaning stays. */
const TPM_PART = 0xffff;

/** Takes a code apart. Any number will do. */
export function decodeCode(rc: number): DecodedCode {
  const code = rc & TPM_PART;
  if ((code & FORMAT_ONE) === 0) return { about: undefined, base: code & 0xfff };
  const base = FORMAT_ONE | (code & 0x3f);
  const number = code >>> 8;
  if (code & PARAMETER) return { about: `parameter ${number & 0xf}`, base };
  const kind = code & SESSION ? "session" : "handle";
  return { about: number & 7 ? `${kind} ${number & 7}` : undefined, base };
}

/** True when a format-one code has this error number, whatever it is about. */
export function isAbout(rc: number, base: number): boolean {
  return decodeCode(rc).base === base;
}

/** Base codes of format one that callers ask for. */
export const BASE = {
  value: 0x084,
  authFail: 0x08e,
  policyFail: 0x09d,
  integrity: 0x09f,
  badAuth: 0x0a2,
} as const;

// The tables are made when something went wrong: a token that opens does not wait for them.

interface Meaning {
  readonly code: ErrorCode;
  readonly words: string;
  readonly hint?: string;
}

const notSupported = (what: string): Meaning => ({
  code: "tpm2/unsupported",
  words: `it does not support ${what}`,
  hint: "another key type, hash or PCR bank may work: see `latchkey enroll tpm2 --help`",
});

const noRoom = (what: string): Meaning => ({
  code: "tpm2/no-room",
  words: `all its room for ${what} is taken`,
  hint: "leftovers of another program: use /dev/tpmrm0, whose resource manager makes room, or flush them with `tpm2_flushcontext`",
});

/** What people can act on; every other code is named by its number and its name in the specification. */
const meanings = (): ReadonlyMap<number, Meaning> =>
  new Map([
    [
      0x100,
      {
        code: "tpm2/not-started",
        words: "nobody has started it",
        hint: "the firmware does that; a software TPM needs `--flags startup-clear`",
      },
    ],
    [0x101, { code: "tpm2/failure-mode", words: "it is in failure mode", hint: "switch the machine off and on again" }],
    [
      0x120,
      { code: "tpm2/refused", words: "this command is disabled", hint: "look for a TPM setting in the firmware setup" },
    ],
    [RC.pcrChanged, { code: "tpm2/busy", words: "PCRs kept changing between the policy and its use" }],
    [0x12f, { code: "tpm2/refused", words: "the object wants a policy, and a password was given" }],
    [0x130, { code: "tpm2/failure-mode", words: "it wants a restart first", hint: "restart the machine" }],
    [0x143, notSupported("this command")],
    [0x153, { code: "tpm2/busy", words: "it wants a self-test first", hint: "restart the machine" }],
    [0x902, noRoom("objects")],
    [0x903, noRoom("sessions")],
    [0x904, noRoom("anything more")],
    [0x905, noRoom("sessions")],
    [0x906, noRoom("objects")],
    [0x907, { code: "tpm2/refused", words: "this is not allowed from the operating system's locality" }],
    [RC.yielded, { code: "tpm2/busy", words: "it put the command off again and again" }],
    [RC.testing, { code: "tpm2/busy", words: "its self-test does not end" }],
    [
      RC.lockout,
      {
        code: "tpm2/lockout",
        words: "it is locked after too many wrong passwords (dictionary attack protection)",
        hint: "it unlocks by itself with time; `tpm2_dictionarylockout -c` ends it at once",
      },
    ],
    [RC.retry, { code: "tpm2/busy", words: "it asked to try again, too often" }],
    [0x923, { code: "tpm2/busy", words: "its memory is not available now" }],
    [0x083, notSupported("this hash algorithm or PCR bank")],
    [BASE.value, notSupported("one of the values asked for, such as the key size")],
    [
      0x085,
      { code: "tpm2/refused", words: "the owner hierarchy is disabled", hint: "enable it in the firmware setup" },
    ],
    [0x087, notSupported("this key size")],
    [0x089, notSupported("this cipher mode")],
    [0x08a, notSupported("this key type")],
    [BASE.authFail, { code: "tpm2/refused", words: "a password is missing or wrong" }],
    [0x096, notSupported("this cipher")],
    [
      BASE.policyFail,
      {
        code: "tpm2/pcr-mismatch",
        words: "the PCRs differ from what the token was sealed to",
        hint: "open with the passphrase once, then enrol again with `latchkey enroll tpm2`",
      },
    ],
    [
      BASE.integrity,
      {
        code: "tpm2/integrity",
        words: "the token was sealed by another TPM, before this one was cleared, or it is damaged",
        hint: "open with the passphrase once, then enrol again with `latchkey enroll tpm2`",
      },
    ],
    [BASE.badAuth, { code: "tpm2/refused", words: "a password is missing or wrong" }],
    [0x0a6, notSupported("this elliptic curve")],
  ]);

/** Codes that mean something else, or something more, at one command. */
const atCommand = (): ReadonlyMap<string, Meaning> =>
  new Map([
    [
      `CreatePrimary ${BASE.badAuth}`,
      {
        code: "tpm2/owner-password",
        words: "the owner hierarchy has a password, which Clevis tokens cannot use",
        hint: "take it away with `tpm2_changeauth -c owner -p PASSWORD`",
      },
    ],
    [
      `Load ${0x082}`,
      { code: "tpm2/integrity", words: "the token's public part has attributes that do not fit: it is damaged" },
    ],
  ]);

/** Names of Part 2 section 6.6.3 for codes that have no sentence of their own. */
const names = (): ReadonlyMap<number, string> =>
  new Map([
    [0x081, "TPM_RC_ASYMMETRIC"],
    [0x082, "TPM_RC_ATTRIBUTES"],
    [0x08b, "TPM_RC_HANDLE"],
    [0x08c, "TPM_RC_KDF"],
    [0x08d, "TPM_RC_RANGE"],
    [0x08f, "TPM_RC_NONCE"],
    [0x092, "TPM_RC_SCHEME"],
    [0x095, "TPM_RC_SIZE"],
    [0x098, "TPM_RC_SELECTOR"],
    [0x09a, "TPM_RC_INSUFFICIENT"],
    [0x09c, "TPM_RC_KEY"],
    [0x0a1, "TPM_RC_RESERVED_BITS"],
    [0x0a4, "TPM_RC_POLICY_CC"],
    [0x0a5, "TPM_RC_BINDING"],
    [0x0a7, "TPM_RC_ECC_POINT"],
    [0x121, "TPM_RC_EXCLUSIVE"],
    [0x124, "TPM_RC_AUTH_TYPE"],
    [0x125, "TPM_RC_AUTH_MISSING"],
    [0x126, "TPM_RC_POLICY"],
    [0x127, "TPM_RC_PCR"],
    [0x142, "TPM_RC_COMMAND_SIZE"],
    [0x144, "TPM_RC_AUTHSIZE"],
    [0x145, "TPM_RC_AUTH_CONTEXT"],
    [0x155, "TPM_RC_SENSITIVE"],
    [0x901, "TPM_RC_CONTEXT_GAP"],
    [0x909, "TPM_RC_CANCELED"],
    [0x920, "TPM_RC_NV_RATE"],
  ]);

/** What the TPM answered instead of doing the command. */
export class TpmResponseError extends LatchkeyError {
  /** The response code as sent. */
  readonly rc: number;

  /** @param command its name in Part 3: `Load` */
  constructor(command: string, rc: number) {
    const { about, base } = decodeCode(rc);
    const meaning = atCommand().get(`${command} ${base}`) ?? meanings().get(base);
    const words = meaning?.words ?? names().get(base) ?? "for a reason without words";
    const where = about === undefined ? hexCode(rc) : `${about}, ${hexCode(rc)}`;
    const message = `the TPM refused ${command}: ${words} (${where})`;
    super(meaning?.code ?? "tpm2/refused", message, meaning?.hint === undefined ? {} : { hint: meaning.hint });
    this.rc = rc;
  }
}
