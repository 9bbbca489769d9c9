import type { Command } from "commander";
import { loadPlan } from "../config/load.ts";
import { chooseWays, openWay, readMachineFacts } from "../sources/prompt/ways.ts";
import { Credential } from "../system/credential.ts";
import { asLatchkeyError, exitStatus, LatchkeyError } from "../system/errors.ts";
import { hardenProcess } from "../system/hardening.ts";
import type { SecretBytes } from "../system/secret-bytes.ts";
import { gravest } from "../unlock/outcome.ts";
import { reportedError } from "../unlock/report.ts";
import { addPassphraseFile, type CredentialOptions, givenCredential } from "./credential-options.ts";
import { abortOnSignals } from "./interrupt.ts";
import { type Looked, lookAt, whyNothingToUnlock } from "./look.ts";
import { acts, print, printJson, printNote, printReportedError, printWarning } from "./run.ts";
import { planFor } from "./volume-argument.ts";

interface Options extends CredentialOptions {
  readonly config?: string;
  readonly json?: true;
}

interface Verified {
  readonly volume: string;
  readonly description: string;
  /** Members that are not there, and the like. */
  readonly notes: readonly string[];
  /** Undefined when the credential was accepted. */
  readonly error: LatchkeyError | undefined;
}

export function registerVerify(program: Command): void {
  const command = program
    .command("verify")
    .argument("<volume|device...>", "volumes or pools of the configuration, paths, or UUID=…")
    .summary("is this credential right? opens nothing")
    .description("Checks one credential on every volume and member named, and changes nothing.");
  addPassphraseFile(command)
    .option("--key-file <file>", "take this file's bytes as they are, or those of standard input (-)")
    .option("--config <file>", "configuration file")
    .option("--json", "print the verdicts as JSON")
    .addHelpText("after", "\nExample:\n  sudo latchkey verify /dev/sda2 /dev/sdb2");
  acts(command, async (names: readonly string[], options: Options) => {
    hardenProcess();
    const plan = loadPlan({ mode: "strict", configFile: options.config });
    for (const warning of plan.warnings) printWarning(warning);
    const looked = (await Promise.all(names.map((name) => lookAt(planFor(name, plan))))).flat();
    // What has no passphrase needs no question.
    const needed = looked.some((one) => "found" in one && whyNothingToUnlock(one.found) === undefined);
    const secret = givenCredential(options)?.secret ?? (needed ? await askFor(names) : undefined);
    using credential = secret && new Credential(secret);
    const verified = await Promise.all(looked.map((one) => verifyOne(one, credential)));
    if (options.json) printJson(verified.map(facts));
    else verified.forEach(tell);
    return exitStatus[gravest(verified.flatMap(({ error }) => error?.outcome ?? []))];
  });
}

async function verifyOne(looked: Looked, credential: Credential | undefined): Promise<Verified> {
  const volume = looked.volume.name;
  const description = "found" in looked ? looked.found.description : looked.volume.kind;
  try {
    if ("error" in looked) throw looked.error;
    const nothing = whyNothingToUnlock(looked.found);
    if (nothing !== undefined) throw new LatchkeyError("unlock/not-encrypted", `${volume}: ${nothing}`);
    if (!credential) throw new LatchkeyError("prompt/cancelled", `${volume}: no passphrase was given`);
    (await looked.found.prove(credential, new AbortController().signal))[Symbol.dispose]();
    return { volume, description, notes: looked.notes, error: undefined };
  } catch (thrown) {
    return { volume, description, notes: looked.notes, error: asLatchkeyError(thrown) };
  }
}

function facts({ volume, description, notes, error }: Verified) {
  return { volume, description, notes, accepted: !error, error: error ? reportedError(error) : null };
}

function tell({ volume, description, notes, error }: Verified): void {
  for (const note of notes) printNote(`${volume}: ${note}`);
  if (error) printReportedError(reportedError(error));
  else print(`${volume}: ${description} accepts it`);
}

/** One question on the terminal, for all of them. */
async function askFor(names: readonly string[]): Promise<SecretBytes | undefined> {
  const [way] = chooseWays(readMachineFacts());
  using asker = openWay(way);
  const answer = await asker.ask(
    { text: `Passphrase to verify on ${names.join(", ")}`, id: "latchkey:verify" },
    abortOnSignals(),
  );
  return answer?.kind === "secret" ? answer.secret : undefined;
}
