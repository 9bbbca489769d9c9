import type { Plan } from "../config/plan.ts";
import { asLatchkeyError } from "../system/errors.ts";
import { extendPcr } from "../tpm2/pcrs.ts";
import { chooseTcti } from "../tpm2/tcti.ts";
import { Tpm } from "../tpm2/tpm.ts";
import type { LatchMarks } from "./latch-marks.ts";
import type { Report, VolumeStanding } from "./report.ts";

/** Milliseconds for a TPM to extend a PCR; real ones take some hundredths of a second. */
const EXTEND_LIMIT = 10_000;

/** What is measured: names who extended the PCR, for whoever reads the event log or computes the value. */
const LATCH_EVENT = "latchkey: volumes are open";

/** Nothing is wanted of a token for these any more. */
const done: ReadonlySet<VolumeStanding> = new Set([
  "opened",
  "already-open",
  "unencrypted",
  "left-to-system",
  "missing", // its pool was opened without it
]);

/** What becomes of the PCR of `policy.seal_pcr_after_unlock` at the end of a boot's run. */
export type Latch =
  | { readonly do: "nothing" }
  | { readonly do: "extend"; readonly pcr: number }
  /** These still want their tokens: whoever opens the last of them extends it. */
  | { readonly do: "wait"; readonly pcr: number; readonly volumes: readonly string[] };

/** The PCR is extended once everything is open, whoever opened it, the passphrase too. */
export function planLatch(plan: Plan, report: Report): Latch {
  const pcr = plan.policy.sealPcrAfterUnlock;
  if (pcr === undefined || report.volumes.length === 0) return { do: "nothing" };
  const volumes = report.volumes
    .filter((volume) => !done.has(volume.standing) || mayStillCome(plan, volume))
    .map(({ name }) => name);
  return volumes.length === 0 ? { do: "extend", pcr } : { do: "wait", pcr, volumes };
}

/** A guess about the root whose device has not come, with a token for it: in an initramfs of Debian's another run will look again. */
function mayStillCome({ volumes }: Plan, { name, standing, devices }: Report["volumes"][number]): boolean {
  const volume = volumes.find((one) => one.name === name);
  const hasToken = volume?.sources.some(({ kind }) => kind === "clevis") === true;
  return standing === "left-to-system" && devices.length === 0 && hasToken;
}

/** Extends a PCR; tests bring their own. */
export type Extend = (pcr: number, plan: Plan) => Promise<void>;

/**
 * Extends the PCR, so that tokens bound to it stay shut until the next start; or leaves word that it is still to be done.
 * @returns one line for the console and the report: a machine whose volumes are open boots on, also without its latch
 */
export async function closeLatch(
  plan: Plan,
  report: Report,
  marks: LatchMarks,
  extend: Extend = extendInTpm,
): Promise<string | undefined> {
  const latch = planLatch(plan, report);
  switch (latch.do) {
    case "nothing":
      return undefined;
    case "wait": {
      const names = latch.volumes.join(" and ");
      const what = `PCR ${latch.pcr} is not extended while ${names} ${latch.volumes.length === 1 ? "is" : "are"} closed`;
      try {
        marks.leave(latch.volumes);
        return `${what}: latchkey unlock extends it with the last of them`;
      } catch (thrown) {
        return `warning: ${what}, nor later: ${asLatchkeyError(thrown).message}`;
      }
    }
    case "extend":
      return marks.finish() ? await dropLatch(latch.pcr, plan, marks, extend) : undefined;
  }
}

/** What is open after a run, by the names of volumes and of their mappings: a device that was named by hand has another. */
export function mappingsOpenIn(report: Report, plan: Plan): readonly string[] {
  const mappings = new Map(plan.volumes.map(({ name, luks }) => [name, luks?.mapping ?? name]));
  return report.volumes.flatMap(({ name, standing }) => (done.has(standing) ? [mappings.get(name) ?? name] : []));
}

/**
 * After volumes have opened on a system that is up: extends the PCR when they were the last that the boot had left closed.
 * @param names of mappings, or volumes
 * @returns one line, when something was done
 */
export async function closeLatchAfter(
  names: readonly string[],
  plan: Plan,
  marks: LatchMarks,
  extend: Extend = extendInTpm,
): Promise<string | undefined> {
  const pcr = plan.policy.sealPcrAfterUnlock;
  return marks.take(names) && pcr !== undefined ? await dropLatch(pcr, plan, marks, extend) : undefined;
}

async function dropLatch(pcr: number, plan: Plan, marks: LatchMarks, extend: Extend): Promise<string> {
  try {
    await extend(pcr, plan);
    return `PCR ${pcr} is extended: tokens bound to it stay shut until the next start`;
  } catch (thrown) {
    marks.undone();
    return `warning: PCR ${pcr} was not extended, tokens bound to it open again: ${asLatchkeyError(thrown).message}`;
  }
}

async function extendInTpm(pcr: number, plan: Plan): Promise<void> {
  await using tpm = new Tpm(chooseTcti(plan.tpm, process.env));
  await tpm.use(AbortSignal.timeout(EXTEND_LIMIT), (turn) => extendPcr(turn, pcr, LATCH_EVENT));
}
