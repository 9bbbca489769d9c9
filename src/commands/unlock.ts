import { join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { loadPlan } from "../config/load.ts";
import type { Plan } from "../config/plan.ts";
import { planToJson } from "../config/plan-json.ts";
import { planToText } from "../config/plan-text.ts";
import { clevisTimeout } from "../config/source-registry.ts";
import type { Destination } from "../providers/bcachefs/keys.ts";
import { unescapeUnitName } from "../providers/luks/systemd-lane/cryptsetup-unit.ts";
import { GivenSource } from "../sources/given-source.ts";
import { monotonicClock } from "../system/clock.ts";
import { exitStatus, LatchkeyError, type Outcome } from "../system/errors.ts";
import { lockFile } from "../system/file-lock.ts";
import { hardenProcess } from "../system/hardening.ts";
import { RUN_DIRECTORY, RunDirectory } from "../system/run-directory.ts";
import { planGroups } from "../unlock/groups.ts";
import { LatchMarks } from "../unlock/latch-marks.ts";
import { gravest } from "../unlock/outcome.ts";
import { closeLatchAfter, mappingsOpenIn } from "../unlock/pcr-latch.ts";
import type { Report, VolumeRecord } from "../unlock/report.ts";
import { unlockVolumes } from "../unlock/unlock.ts";
import { build, version } from "../version.ts";
import { assembleAfterOpening, assembleProviders, assembleSources } from "./assemble.ts";
import { addPassphraseFile, type CredentialOptions, givenCredential } from "./credential-options.ts";
import { kindWithoutLink } from "./device-kind.ts";
import { abortOnSignals } from "./interrupt.ts";
import { lookAt, whyNothingToUnlock } from "./look.ts";
import { acts, print, printError, printJson, printNote, printReportedError, printWarning } from "./run.ts";
import { planFor, withVaults } from "./volume-argument.ts";

interface Options extends CredentialOptions {
  readonly config?: string;
  readonly token?: string;
  readonly keyring: Destination;
  readonly allowDegraded?: true;
  readonly wait?: true;
  readonly dryRun?: true;
  readonly json?: true;
}

export function registerUnlock(program: Command): void {
  const command = program
    .command("unlock")
    .argument("<volume|device>", "a volume or pool of the configuration, a path, or UUID=…")
    .summary("open a volume now")
    .description(
      "Opens one volume now. Without options its configured sources race and then a question is asked; a device that is in no configuration is asked for. For bcachefs the key goes into a kernel keyring, where mount finds it.",
    );
  addPassphraseFile(command)
    .option("--key-file <file>", "take this file's bytes as they are, or those of standard input (-)")
    .option("--token <file>", "take what this Clevis token holds")
    .addOption(
      new Option("--keyring <name>", "the kernel keyring a bcachefs key goes to")
        .choices(["user", "session", "user_session"])
        .default("user"),
    )
    .option("--wait", "wait for devices that are not there yet, as long as the configuration says")
    .option("--allow-degraded", "open a pool or volume without members that are not there")
    .option("--dry-run", "show the plan and change nothing")
    .option("--config <file>", "configuration file", undefined)
    .option("--json", "print the plan or the report as JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  sudo latchkey unlock root\n  sudo latchkey unlock /dev/sdb1 --passphrase-file - < secret",
    );
  acts(command, async (written: string, options: Options) => {
    hardenProcess();
    const whole = loadPlan({ mode: "strict", configFile: options.config });
    const argument = nameIn(whole, written);
    const isGiven = [options.passphraseFile, options.keyFile, options.token].some((file) => file !== undefined);
    const found = planFor(argument, whole, await kindWithoutLink(argument));
    const part = options.token === undefined ? found : byToken(found, options.token, options);
    const named = isGiven ? part : withVaults(part, whole);
    const plan = options.allowDegraded ? { ...named, policy: { ...named.policy, allowDegraded: true } } : named;
    for (const warning of plan.warnings) printWarning(warning);
    if (options.dryRun) {
      if (options.json) printJson(planToJson(plan));
      else print(planToText(plan).trimEnd());
      return exitStatus.done;
    }
    const signal = abortOnSignals();
    using _ = options.wait ? await inTurn(named, signal) : undefined;
    const report = await openNow(plan, options, signal);
    const latched = await closeLatchAfter(mappingsOpenIn(report, plan), whole, new LatchMarks());
    if (latched !== undefined) printNote(latched);
    if (options.json) printJson(report);
    return await tell(plan, report, options.json === true);
  });
}

/** @throws LatchkeyError usage/invalid beside another credential */
function byToken(plan: Plan, token: string, { passphraseFile, keyFile }: CredentialOptions): Plan {
  if (passphraseFile !== undefined || keyFile !== undefined) {
    throw new LatchkeyError("usage/invalid", "--token excludes --passphrase-file and --key-file");
  }
  const sources = [{ kind: "clevis", timeout: clevisTimeout, token: resolve(token) }] as const;
  return { ...plan, volumes: plan.volumes.map((volume) => ({ ...volume, sources })) };
}

/** latchkey@.service gives the name of its instance as it is, which may be spelt as systemd-escape(1) does. */
function nameIn({ volumes, pools }: Plan, written: string): string {
  const unescaped = unescapeUnitName(written);
  const isKnown = (name: string): boolean => [...volumes, ...pools].some((one) => one.name === name);
  return !isKnown(written) && isKnown(unescaped) ? unescaped : written;
}

/**
 * Two units for members of one pool that start at once would ask the same question twice: the second waits for the first, and finds its
 * volume open. A person who does not want to wait leaves out --wait.
 */
async function inTurn(plan: Plan, signal: AbortSignal): Promise<Disposable | undefined> {
  const [group] = planGroups(plan);
  const directory = new RunDirectory(join(RUN_DIRECTORY, "unlocking"));
  if (!group || group.name.includes("/")) return undefined;
  try {
    new RunDirectory().create();
    directory.create();
  } catch {
    return undefined; // whoever may not write there has other things to complain of
  }
  return await lockFile(directory.file(group.name), monotonicClock, signal, () =>
    printNote(`waiting for another latchkey, which is opening ${group.isPool ? "pool " : ""}${group.name}`),
  );
}

async function openNow(plan: Plan, options: Options, signal: AbortSignal): Promise<Report> {
  const volumes = plan.volumes.map(({ name }) => name);
  const given = givenCredential(options);
  const providers = assembleProviders({ keyring: options.keyring });
  await using assembled = assembleSources(plan, providers);
  const sources = given ? [new GivenSource(given.name, given.secret, volumes)] : assembled.sources;
  return await unlockVolumes(
    {
      // By hand nobody waits for disks that may still be spinning up; what is there is there.
      plan: options.wait ? plan : { ...plan, deviceTimeout: 0, memberTimeout: 0 },
      providers,
      sources,
      clock: monotonicClock,
      version,
      build,
      announce: () => undefined,
      showProgress: printNote,
      afterOpening: assembleAfterOpening(),
    },
    signal,
  );
}

/** One line for each volume: facts to standard output, errors to standard error. */
async function tell(plan: Plan, report: Report, quiet: boolean): Promise<number> {
  const outcomes: Outcome[] = report.outcome === "done" ? [] : [report.outcome ?? "failed"];
  for (const warning of report.warnings.slice(plan.warnings.length)) printWarning(warning);
  const told = new Set<string>();
  for (const volume of report.volumes) {
    if (volume.error && volume.standing === "missing") {
      printWarning(`going on degraded: ${volume.error.reason}`);
    } else if (volume.error) {
      // One reason may be that of several members.
      if (!told.has(volume.error.reason)) printReportedError(volume.error);
      told.add(volume.error.reason);
    } else if (volume.standing === "unencrypted") {
      const error = await nothingToUnlock(volume.name, plan);
      printError(error);
      outcomes.push(error.outcome);
    } else if (!quiet) {
      print(`${volume.name}: ${sentence(volume)}`);
      // Members that are not there, and the like: what is open may still not mount.
      const notes = volume.standing === "opened" ? report.events.filter((event) => event.volume === volume.name) : [];
      for (const { text } of notes) printNote(`${volume.name}: ${text}`);
    }
  }
  return exitStatus[gravest(outcomes)];
}

/** The report does not tell a volume without encryption from one without a passphrase. */
async function nothingToUnlock(name: string, plan: Plan): Promise<LatchkeyError> {
  const [looked] = await lookAt({ ...plan, volumes: plan.volumes.filter((volume) => volume.name === name) });
  const why = looked && "found" in looked ? whyNothingToUnlock(looked.found) : undefined;
  return new LatchkeyError("unlock/not-encrypted", `${name}: ${why ?? "is not encrypted"}`);
}

function sentence({ standing, description, opened_by }: VolumeRecord): string {
  switch (standing) {
    case "opened":
      return `${description} opened by ${opened_by}`;
    case "already-open":
      return `${description} is already open: nothing to do`;
    default:
      return `${description ?? ""} ${standing}`.trim();
  }
}
