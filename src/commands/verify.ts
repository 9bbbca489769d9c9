import type { Command } from "commander";
import { loadPlan } from "../config/load.ts";
import type { Plan } from "../config/plan.ts";
import { chooseWays, openWay, readMachineFacts } from "../sources/prompt/ways.ts";
import { Credential } from "../system/credential.ts";
import { asLatchkeyError, exitStatus, LatchkeyError } from "../system/errors.ts";
import { hardenProcess } from "../system/hardening.ts";
import type { SecretBytes } from "../system/secret-bytes.ts";
import { planMembership, type Verdict } from "../unlock/membership.ts";
import { gravest } from "../unlock/outcome.ts";
import { ProofRoom } from "../unlock/proof-room.ts";
import { reportedError } from "../unlock/report.ts";
import { addPassphraseFile, type CredentialOptions, givenCredential } from "./credential-options.ts";
import { kindWithoutLink } from "./device-kind.ts";
import { abortOnSignals } from "./interrupt.ts";
import { type Looked, lookAt, whyNothingToUnlock } from "./look.ts";
import { type Operation, poolCandidates } from "./pool-candidates.ts";
import { acts, print, printJson, printNote, printReportedError, printRow, printWarning } from "./run.ts";
import { planFor } from "./volume-argument.ts";

interface Options extends CredentialOptions {
  readonly adding: readonly string[];
  readonly replacing?: string;
  readonly allowDegraded?: true;
  readonly config?: string;
  readonly json?: true;
}

/** Something to verify: one line of what is shown. */
interface Subject {
  readonly looked: Looked;
  readonly pool: string | undefined;
  readonly verdict: Verdict;
}

/** What became of it. */
type Verified = Subject & {
  readonly result: { readonly accepted: true } | { readonly skipped: string } | { readonly error: LatchkeyError };
};

interface Subjects {
  readonly subjects: readonly Subject[];
  /** What has to be put right first. */
  readonly errors: readonly LatchkeyError[];
}

export function registerVerify(program: Command): void {
  const command = program
    .command("verify")
    .argument("<volume|device...>", "volumes or pools of the configuration, paths, or UUID=…")
    .summary("is this credential right? opens nothing")
    .description(
      "Checks one credential on every volume and member named, and changes nothing. Before a disk is added to a pool or replaced, it tells whether the credential is right for all members that the pool will have then.",
    );
  addPassphraseFile(command)
    .option("--key-file <file>", "take this file's bytes as they are, or those of standard input (-)")
    .option("--adding <device>", "a disk that is to join the pool; may be given several times", collect, [])
    .option("--replacing <member>", "a member that another disk is to replace, by its name or device")
    .option("--allow-degraded", "leave out members that are not there")
    .option("--config <file>", "configuration file")
    .option("--json", "print the verdicts as JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  sudo latchkey verify /dev/sda2 /dev/sdb2\n  sudo latchkey verify data --replacing d2 --adding /dev/sdd",
    );
  acts(command, async (names: readonly string[], options: Options) => {
    hardenProcess();
    const plan = loadPlan({ mode: "strict", configFile: options.config });
    for (const warning of plan.warnings) printWarning(warning);
    const all = await subjectsOf(names, plan, options);
    if (all.errors.length > 0) {
      for (const error of all.errors) printReportedError(reportedError(error));
      return exitStatus[gravest(all.errors.map(({ outcome }) => outcome))];
    }
    const verified = await verifyAll(all.subjects, options, names);
    const outcomes = verified.flatMap(({ result }) => ("error" in result ? [result.error.outcome] : []));
    if (options.json) printJson(verified.map(facts));
    return exitStatus[gravest(outcomes)];
  });
}

function collect(value: string, earlier: readonly string[]): readonly string[] {
  return [...earlier, value];
}

async function subjectsOf(names: readonly string[], whole: Plan, options: Options): Promise<Subjects> {
  const parts = await Promise.all(
    names.map(async (name) => ({ name, plan: planFor(name, whole, await kindWithoutLink(name)) })),
  );
  const { adding, replacing } = options;
  const changes = adding.length > 0 || replacing !== undefined;
  if (changes && (parts.length !== 1 || parts[0]?.plan.pools.length !== 1)) {
    throw new LatchkeyError("usage/invalid", "--adding and --replacing are about one pool", {
      hint: "for example: latchkey verify data --adding /dev/sdd",
    });
  }
  const seen = await Promise.all(
    parts.map(async ({ plan }): Promise<Subjects> => {
      const [pool] = plan.pools;
      if (!pool) return { subjects: (await lookAt(plan)).map(alone), errors: [] };
      return await membersOf(plan, whole, { adding, replacing }, options.allowDegraded === true);
    }),
  );
  return { subjects: seen.flatMap(({ subjects }) => subjects), errors: seen.flatMap(({ errors }) => errors) };
}

async function membersOf(plan: Plan, whole: Plan, operation: Operation, allowDegraded: boolean): Promise<Subjects> {
  const [pool] = plan.pools;
  if (!pool) return { subjects: [], errors: [] };
  const seen = await poolCandidates(pool, plan, whole, operation);
  const { verdicts, errors } = planMembership(
    pool.name,
    seen.map(({ candidate }) => candidate),
    allowDegraded || plan.policy.allowDegraded,
  );
  const subjects = seen.flatMap(({ candidate, looked }) => {
    const verdict = verdicts.get(candidate);
    return verdict ? [{ looked, pool: pool.name, verdict }] : [];
  });
  return { subjects, errors };
}

/** A volume that is in no pool. */
function alone(looked: Looked): Subject {
  const nothing = "found" in looked ? whyNothingToUnlock(looked.found) : undefined;
  const error =
    "error" in looked
      ? looked.error
      : nothing === undefined
        ? undefined
        : new LatchkeyError("unlock/not-encrypted", `${looked.volume.name}: ${nothing}`);
  return { looked, pool: undefined, verdict: error ? { do: "fail", error } : { do: "try" } };
}

/** Proves the credential on each, side by side as far as the machine bears, and shows a row for each in their order. */
async function verifyAll(
  subjects: readonly Subject[],
  options: Options,
  names: readonly string[],
): Promise<readonly Verified[]> {
  const signal = abortOnSignals();
  const tried = subjects.filter(({ verdict }) => verdict.do === "try");
  // What has no passphrase needs no question.
  const secret = givenCredential(options)?.secret ?? (tried.length > 0 ? await askFor(names, signal) : undefined);
  using credential = secret && new Credential(secret);
  if (credential && tried.length > 1 && !options.json) {
    for (const { looked } of tried) printRow(`[wait] ${looked.volume.name}: ${describe(looked)}`);
  }
  const room = new ProofRoom();
  const running = subjects.map((subject) => verifyOne(subject, credential, room, signal));
  const verified: Verified[] = [];
  for (const one of running) {
    verified.push(await one);
    if (!options.json) tell(await one);
  }
  return verified;
}

async function verifyOne(
  subject: Subject,
  credential: Credential | undefined,
  room: ProofRoom,
  signal: AbortSignal,
): Promise<Verified> {
  const { looked, verdict } = subject;
  if (verdict.do === "skip") return { ...subject, result: { skipped: verdict.why } };
  if (verdict.do === "fail") return { ...subject, result: { error: verdict.error } };
  const { name } = looked.volume;
  try {
    if ("error" in looked) throw looked.error;
    if (!credential) throw new LatchkeyError("prompt/cancelled", `${name}: no passphrase was given`);
    using place = await room.enter(looked.found.proofMemory, signal);
    if (!place) throw new LatchkeyError("unlock/interrupted", `${name}: interrupted before it was verified`);
    (await looked.found.prove(credential, signal))[Symbol.dispose]();
    return { ...subject, result: { accepted: true } };
  } catch (thrown) {
    return { ...subject, result: { error: asLatchkeyError(thrown) } };
  }
}

function describe(looked: Looked): string {
  return "found" in looked ? looked.found.description : looked.volume.kind;
}

function facts({ looked, pool, result }: Verified) {
  return {
    volume: looked.volume.name,
    pool: pool ?? null,
    description: describe(looked),
    uuid: "found" in looked ? looked.found.uuid : null,
    devices: "found" in looked ? looked.found.devices : [],
    notes: looked.notes,
    /** Null where it was not tried, as it should be. */
    accepted: "skipped" in result ? null : "accepted" in result,
    skipped: "skipped" in result ? result.skipped : null,
    error: "error" in result ? reportedError(result.error) : null,
  };
}

function tell({ looked, result }: Verified): void {
  const { name } = looked.volume;
  for (const note of looked.notes) printNote(`${name}: ${note}`);
  if ("error" in result) printReportedError(reportedError(result.error));
  else if ("skipped" in result) print(`[skip] ${name}: ${result.skipped}`);
  else print(`[ok]   ${name}: ${describe(looked)} accepts it`);
}

/** One question on the terminal, for all of them. */
async function askFor(names: readonly string[], signal: AbortSignal): Promise<SecretBytes | undefined> {
  const [way] = chooseWays(readMachineFacts());
  using asker = openWay(way);
  const answer = await asker.ask(
    { text: `Passphrase to verify on ${names.join(", ")}`, id: "latchkey:verify" },
    signal,
  );
  return answer?.kind === "secret" ? answer.secret : undefined;
}
