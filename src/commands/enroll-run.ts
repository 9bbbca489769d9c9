import { existsSync } from "node:fs";
import type { Command } from "commander";
import { loadPlan, usualToken } from "../config/load.ts";
import type { Plan } from "../config/plan.ts";
import { type Enrolled, runEnrolment } from "../enroll/enrolment.ts";
import { machineMeans } from "../enroll/machine-means.ts";
import { type BootFacts, nextSteps, resultNotes } from "../enroll/next-steps.ts";
import { pcrAdvice, secureBootState } from "../enroll/pcr-advice.ts";
import { describeStep, planEnrolment } from "../enroll/steps.ts";
import type { Target } from "../enroll/target.ts";
import { pinsOf, type Wish } from "../enroll/wish.ts";
import { describePinTree, pinTreeLines, tokenNeeds } from "../sources/clevis/describe.ts";
import { exitStatus } from "../system/errors.ts";
import { hardenProcess } from "../system/hardening.ts";
import { addPassphraseFile, type CredentialOptions, givenCredential } from "./credential-options.ts";
import { findTarget, tokenOf } from "./enroll-target.ts";
import { abortOnSignals } from "./interrupt.ts";
import { print, printJson, printWarning } from "./run.ts";

/** What every method takes. */
export interface EnrolOptions extends CredentialOptions {
  readonly token?: string;
  readonly force?: true;
  readonly dryRun?: true;
  readonly json?: true;
  readonly config?: string;
  readonly tpm?: string;
  readonly caFile?: string;
}

export function addEnrolOptions(command: Command): Command {
  return addPassphraseFile(
    command.argument("<volume|device>", "a volume of the configuration or of crypttab, a path, or UUID=…"),
  )
    .option(
      "--key-file <file>",
      "take this file's bytes as they are for the passphrase, or those of standard input (-)",
    )
    .option("--dry-run", "show the steps, change nothing")
    .option("--config <file>", "configuration file")
    .option("--json", "print what was made as JSON");
}

/** Where a token file goes; a recovery key has none. */
export function addTokenOptions(command: Command): Command {
  return command
    .option("--token <file>", "bcachefs: where the token shall lie, instead of /etc/latchkey/NAME.jwe")
    .option("--force", "put the token in the place of one that is there, which is kept as .old");
}

export const tpmOption = [
  "--tpm <tcti>",
  "the TPM: device:PATH, swtpm:path=P or swtpm:host=H,port=P; TPM2TOOLS_TCTI wins",
] as const;
export const authorityOption = [
  "--ca-file <file>",
  "trust https Tang servers with a certificate by this authority (PEM), and no other",
] as const;

/** Finds the volume, plans, and shows the plan or carries it out. */
export async function enroll(argument: string, wish: Wish, options: EnrolOptions): Promise<number> {
  hardenProcess();
  const plan = loadPlan({ mode: "strict", configFile: options.config });
  for (const warning of plan.warnings) printWarning(warning);
  const target = await findTarget(argument, plan, options.token);
  const steps = planEnrolment(wish, target.facts, { from: whereFrom(options), force: options.force === true });
  const notes = [...advice(wish, plan)];
  const isJson = options.json === true;
  if (options.dryRun) {
    const lines = steps.map(describeStep);
    if (isJson) printJson({ steps: lines, notes });
    else for (const line of [...notes.map(noteLine), ...lines]) print(line);
    return exitStatus.done;
  }
  using passphrase = givenCredential(options)?.secret;
  const say = (line: string): void => {
    if (!isJson) print(line);
  };
  const note = (text: string): void => {
    notes.push(text);
    say(noteLine(text));
  };
  notes.map(noteLine).forEach(say);
  const means = machineMeans({ tcti: options.tpm ?? plan.tpm, authorityFile: options.caFile });
  const enrolled = await runEnrolment(steps, { ...means, target, passphrase, say, note, signal: abortOnSignals() });
  resultNotes(target, enrolled).forEach(note);
  const next = nextSteps(target, enrolled, bootFacts(target, options));
  if (isJson) printJson(facts(wish, target, enrolled, notes, next));
  else for (const line of [summary(target, enrolled), ...next.map((each) => `next: ${each}`)]) print(line);
  return exitStatus.done;
}

const noteLine = (text: string): string => `note: ${text}`;

function whereFrom({ passphraseFile, keyFile }: CredentialOptions): string {
  const file = passphraseFile ?? keyFile;
  return file === undefined ? "the terminal" : file === "-" ? "standard input" : file;
}

function advice(wish: Wish, plan: Plan): readonly string[] {
  if (wish.method === "recovery") return [];
  const surroundings = { secureBoot: secureBootState(), latch: plan.policy.sealPcrAfterUnlock };
  return pinsOf(wish).flatMap((pin) => (pin.method === "tpm2" ? pcrAdvice(pin, surroundings) : []));
}

/** The configuration is read anew: a token at its usual place is a source by being there. */
function bootFacts(target: Target, options: EnrolOptions): BootFacts {
  const { volumes } = loadPlan({ mode: "boot", configFile: options.config });
  const path = target.kind === "bcachefs" ? target.facts.token : undefined;
  const readsToken = volumes.some(
    (volume) => volume.sources.some(({ kind }) => kind === "clevis") && tokenOf(volume) === path,
  );
  return { readsToken, usualToken: usualToken(target.facts.name), isNixos: existsSync("/etc/NIXOS") };
}

function summary({ facts }: Target, { token, old, openedHere }: Enrolled): string {
  if (!token) return `${facts.name}: the recovery key opens it; nothing here has kept the key`;
  const [tree = "", ...shares] = pinTreeLines(describePinTree(token));
  const proved = openedHere ? "proved by opening it" : "proved as far as the PCRs of now allow";
  const kept = old === undefined ? [] : [`the token of before is ${old}`];
  return [`${facts.name}: enrolled, and ${proved}: ${tree}`, ...shares, ...kept].join("\n");
}

function facts(wish: Wish, target: Target, enrolled: Enrolled, notes: readonly string[], next: readonly string[]) {
  const pin = enrolled.token ? describePinTree(enrolled.token) : null;
  const isLuks = target.kind === "luks2";
  return {
    volume: target.facts.name,
    kind: target.kind,
    method: wish.method,
    devices: isLuks ? [target.facts.device] : target.volume.devices,
    token: isLuks ? null : target.facts.token,
    old_token: enrolled.old ?? null,
    key_slot: isLuks ? target.facts.slot : null,
    header_token: isLuks ? target.facts.id : null,
    pin,
    needs: pin && tokenNeeds(pin),
    opened_again: enrolled.openedHere,
    notes,
    next,
  };
}
