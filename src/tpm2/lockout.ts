import { LatchkeyError } from "../system/errors.ts";
import { tpmProperties } from "./capabilities.ts";
import type { TpmResponseError } from "./response-codes.ts";
import type { TpmTurn } from "./tpm.ts";

/** TPM_PT of the variable group, TPM 2.0 Part 2 section 6.13. */
const PROPERTY = {
  permanent: 0x200,
  lockoutCounter: 0x20e,
  maxAuthFail: 0x20f,
  lockoutInterval: 0x210,
  lockoutRecovery: 0x211,
} as const;
const IN_LOCKOUT = 1 << 9; // TPMA_PERMANENT, Part 2 section 8.6
const OWNER_AUTH_SET = 1 << 0;

/** How the TPM's dictionary attack protection and its owner hierarchy stand. */
export interface LockoutState {
  /**
   * No password is taken for a while, not even an empty one. Opening a clevis token never counts as a failure (the sealed
   * object has noDA), but it fails meanwhile: the primary it hangs on has not.
   */
  readonly inLockout: boolean;
  readonly ownerHasPassword: boolean;
  /** Wrong passwords that count, and how many are too many. */
  readonly failures: number;
  readonly maxFailures: number;
  /** Seconds with the TPM on after which one failure is forgotten. */
  readonly interval: number;
  /** Seconds after which the lockout password may be tried again. */
  readonly recovery: number;
}

/** @throws LatchkeyError what GetCapability answered */
export async function lockoutState(turn: TpmTurn): Promise<LockoutState> {
  const permanent = (await tpmProperties(turn, PROPERTY.permanent, 1)).get(PROPERTY.permanent) ?? 0;
  const variable = await tpmProperties(turn, PROPERTY.lockoutCounter, 4);
  const value = (property: number): number => variable.get(property) ?? 0;
  return {
    inLockout: (permanent & IN_LOCKOUT) !== 0,
    ownerHasPassword: (permanent & OWNER_AUTH_SET) !== 0,
    failures: value(PROPERTY.lockoutCounter),
    maxFailures: value(PROPERTY.maxAuthFail),
    interval: value(PROPERTY.lockoutInterval),
    recovery: value(PROPERTY.lockoutRecovery),
  };
}

/** The same error, with how long it lasts, if the TPM says. */
export async function explainLockout(turn: TpmTurn, error: TpmResponseError): Promise<LatchkeyError> {
  try {
    const { interval } = await lockoutState(turn);
    const wait = interval < 120 ? `${interval} s` : `${Math.ceil(interval / 60)} min`;
    const hint = `it takes one more try within ${wait} of running; \`tpm2_dictionarylockout -c\` ends it at once`;
    return new LatchkeyError("tpm2/lockout", error.message, { hint, cause: error });
  } catch {
    return error;
  }
}
