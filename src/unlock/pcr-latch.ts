import type { Plan } from "../config/plan.ts";
import { asLatchkeyError } from "../system/errors.ts";
import { extendPcr } from "../tpm2/pcrs.ts";
import { chooseTcti } from "../tpm2/tcti.ts";
import { Tpm } from "../tpm2/tpm.ts";
import type { Report } from "./report.ts";

/** Milliseconds for a TPM to extend a PCR; real ones take some hundredths of a second. */
const EXTEND_LIMIT = 10_000;

/** What is measured: names who extended the PCR, for whoever reads the event log or computes the value. */
const LATCH_EVENT = "latchkey: volumes are open";

/**
 * The PCR to extend now: once everything is open, whoever opened it, the passphrase too. What was left for later still wants its
 * token.
 */
export function latchToDrop(plan: Plan, report: Report): number | undefined {
  if (report.outcome !== "done" || report.volumes.length === 0) return undefined;
  if (report.volumes.some(({ standing }) => standing === "deferred")) return undefined;
  return plan.policy.sealPcrAfterUnlock;
}

/**
 * Extends the PCR, so that tokens bound to it stay shut until the next start.
 * @returns one line for the console and the report: a machine whose volumes are open boots on, also without its latch
 */
export async function dropLatch(pcr: number, plan: Plan): Promise<string> {
  try {
    await using tpm = new Tpm(chooseTcti(plan.tpm, process.env));
    await tpm.use(AbortSignal.timeout(EXTEND_LIMIT), (turn) => extendPcr(turn, pcr, LATCH_EVENT));
    return `PCR ${pcr} is extended: tokens bound to it stay shut until the next start`;
  } catch (thrown) {
    return `warning: PCR ${pcr} was not extended, tokens bound to it open again: ${asLatchkeyError(thrown).message}`;
  }
}
