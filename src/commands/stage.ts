import type { Command } from "commander";
import { loadPlan } from "../config/load.ts";
import type { Plan } from "../config/plan.ts";
import { parseVolumeName } from "../config/volume-name.ts";
import type { MappingOpener } from "../providers/luks/opener.ts";
import { StagedKeys } from "../providers/luks/systemd-lane/staged-keys.ts";
import { GivenSource } from "../sources/given-source.ts";
import { monotonicClock } from "../system/clock.ts";
import { exitStatus, LatchkeyError, type Outcome } from "../system/errors.ts";
import { hardenProcess } from "../system/hardening.ts";
import { gravest } from "../unlock/outcome.ts";
import type { Report } from "../unlock/report.ts";
import { unlockVolumes } from "../unlock/unlock.ts";
import { build, version } from "../version.ts";
import { assembleProviders, assembleSources } from "./assemble.ts";
import { addPassphraseFile, type CredentialOptions, givenCredential } from "./credential-options.ts";
import { abortOnSignals } from "./interrupt.ts";
import { acts, print, printError, printReportedError, printWarning } from "./run.ts";
import { planFor, withVaults } from "./volume-argument.ts";

interface Options extends CredentialOptions {
  readonly config?: string;
  readonly withdraw?: true;
}

export function registerStage(program: Command): void {
  const command = program
    .command("stage")
    .argument("[volume]", "a LUKS volume or pool of the configuration or of crypttab; every staged one with --withdraw")
    .summary("put a proven key where systemd-cryptsetup finds it")
    .description(
      "Proves a LUKS volume's key and puts it into /run/cryptsetup-keys.d, in memory, for the next start of systemd-cryptsetup. For those who need a file: at boot latchkey hands keys over without one.",
    );
  addPassphraseFile(command)
    .option("--key-file <file>", "take this file's bytes as they are, or those of standard input (-)")
    .option("--withdraw", "take the key away again")
    .option("--config <file>", "configuration file")
    .addHelpText(
      "after",
      "\nExample:\n  sudo latchkey stage data && sudo systemctl start systemd-cryptsetup@data; sudo latchkey stage --withdraw data",
    );
  acts(command, async (volume: string | undefined, options: Options) => {
    hardenProcess();
    const staged = new StagedKeys();
    if (options.withdraw) return withdraw(volume, staged);
    if (volume === undefined) throw new LatchkeyError("usage/invalid", "which volume's key is to be staged?");
    const whole = loadPlan({ mode: "strict", configFile: options.config });
    const plan = planFor(volume, whole);
    for (const warning of plan.warnings) printWarning(warning);
    for (const { name, kind } of plan.volumes) {
      if (kind === "luks") continue;
      throw new LatchkeyError("stage/not-luks", `${name}: a ${kind} volume is not opened by systemd-cryptsetup`, {
        hint: `\`latchkey unlock ${name}\` opens it`,
      });
    }
    const names = new Set(plan.volumes.map(({ name }) => name));
    const isGiven = options.passphraseFile !== undefined || options.keyFile !== undefined;
    const report = await stageNow(isGiven ? plan : withVaults(plan, whole), names, staged, options);
    return tell({ ...report, volumes: report.volumes.filter(({ name }) => names.has(name)) }, staged);
  });
}

/** @param names what is staged; the vaults that hold keys for it are opened */
async function stageNow(plan: Plan, names: ReadonlySet<string>, staged: StagedKeys, options: Options): Promise<Report> {
  const others = plan.volumes.filter(({ name }) => !names.has(name));
  const vaults = new Set(others.map(({ name, luks }) => luks?.mapping ?? name));
  const opener = (otherwise: MappingOpener): MappingOpener => ({
    open: (request, key, signal) =>
      Promise.try(() => {
        const { name } = request;
        if (vaults.has(name)) return otherwise.open(request, key, signal);
        staged.stage(name, key.passphrase);
        return { close: () => Promise.resolve(void staged.withdraw(name)) };
      }),
  });
  const volumes = plan.volumes.map(({ name }) => name);
  const given = givenCredential(options);
  const providers = assembleProviders({ opener });
  await using assembled = assembleSources(plan, providers);
  const sources = given ? [new GivenSource(given.name, given.secret, volumes)] : assembled.sources;
  return await unlockVolumes(
    {
      plan: { ...plan, deviceTimeout: 0, memberTimeout: 0 },
      providers,
      sources,
      clock: monotonicClock,
      version,
      build,
      announce: () => undefined,
    },
    abortOnSignals(),
  );
}

function tell(report: Report, staged: StagedKeys): number {
  const outcomes: Outcome[] = report.outcome === "done" ? [] : [report.outcome ?? "failed"];
  for (const { name, standing, description, error } of report.volumes) {
    if (error) printReportedError(error);
    else if (standing === "opened") print(`${name}: ${description}: its key is at ${staged.path(name)}`);
    else if (standing === "already-open") print(`${name}: ${description} is already open: nothing is staged`);
    else outcomes.push(printNotEncrypted(name));
  }
  return exitStatus[gravest(outcomes)];
}

function printNotEncrypted(name: string): Outcome {
  const error = new LatchkeyError("unlock/not-encrypted", `${name}: is not encrypted`);
  printError(error);
  return error.outcome;
}

function withdraw(volume: string | undefined, staged: StagedKeys): number {
  if (volume !== undefined) {
    const name = parseVolumeName(volume);
    if ("problem" in name) throw new LatchkeyError("usage/invalid", `${volume}: ${name.problem}`);
  }
  for (const name of volume === undefined ? staged.volumes : [volume]) {
    print(staged.withdraw(name) ? `${name}: its key is gone` : `${name}: no key of latchkey's is staged`);
  }
  return exitStatus.done;
}
