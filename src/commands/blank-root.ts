import { existsSync, readFileSync } from "node:fs";
import { type Command, InvalidArgumentError } from "commander";
import { loadPlan } from "../config/load.ts";
import type { Plan, VolumePlan } from "../config/plan.ts";
import { kernelKeyring } from "../keyutils-ffi/keyring.ts";
import { planMount } from "../providers/bcachefs/mount.ts";
import { whileMounted } from "../providers/bcachefs/mount-run.ts";
import { type FoundVolume, providerFor } from "../providers/provider.ts";
import type { Retention } from "../rollback/archive.ts";
import { BcachefsTree } from "../rollback/bcachefs-tree.ts";
import { HIBERNATE_LOCATION, whyResuming } from "../rollback/hibernation.ts";
import { checkedNames } from "../rollback/names.ts";
import { type BlankRootPlan, type RootNames, stepText } from "../rollback/plan.ts";
import { type BlankRootResult, carryOut, planOn } from "../rollback/run.ts";
import { SystemBlockDevices } from "../system/block-devices.ts";
import { exitStatus, LatchkeyError } from "../system/errors.ts";
import { assembleProviders } from "./assemble.ts";
import { abortOnSignals } from "./interrupt.ts";
import { acts, print, printJson, printNote, printWarning } from "./run.ts";
import { planFor } from "./volume-argument.ts";

interface Options {
  readonly root?: string;
  readonly blank: string;
  readonly archive: string;
  readonly keep: number;
  readonly keepDays: number;
  readonly dryRun?: true;
  readonly config?: string;
  readonly json?: true;
}

export function registerBlankRoot(program: Command): void {
  const command = program
    .command("blank-root")
    .argument("<volume|device>", "the bcachefs that holds the root: a volume of the configuration, a path, or UUID=…")
    .summary("put a blank root in the place of the old one")
    .description(
      "For a system whose root is blank at each boot: archives the root subvolume of a bcachefs under the time of this boot, puts a writable snapshot of the blank one in its place, and deletes old roots. Runs in the initrd, after the volume is unlocked and before it is mounted; refuses while the machine may be resuming from hibernation.",
    )
    .option("--root <path>", 'the root\'s subvolume (default: what X-mount.subdir= of the root names, or "root")')
    .option("--blank <path>", "the snapshot that a new root is made of", "blank")
    .option("--archive <path>", "the folder that old roots are moved to", "old-roots")
    .option("--keep <count>", "so many old roots are kept at most", wholeNumber(0, 10_000), 10)
    .option("--keep-days <days>", "and so long at most, except the newest", wholeNumber(1, 36_500), 30)
    .option("--dry-run", "show the steps and change nothing")
    .option("--config <file>", "configuration file")
    .option("--json", "print what was done as JSON")
    .addHelpText(
      "after",
      "\nExample (in a unit of the initrd, after latchkey.service and before sysroot.mount):\n  ExecStart=/usr/bin/latchkey blank-root root --root @root --blank @blank --archive @old-roots",
    );
  acts(command, async (argument: string, options: Options) => {
    // Mistakes elsewhere in the configuration do not stop a boot.
    const whole = loadPlan({ mode: "boot", configFile: options.config });
    for (const warning of whole.warnings) printWarning(warning);
    const volume = theVolume(argument, whole);
    const names = checkedNames({ ...options, root: options.root ?? whole.rootMount?.subdirectory ?? "root" });
    if (!options.dryRun) await refuseWhileResuming(volume);
    const found = await find(volume, whole, options);
    const isMounted = existsSync(`/sys/fs/bcachefs/${found.uuid}`);
    if (isMounted && !options.dryRun) {
      throw new LatchkeyError("rollback/in-use", `${found.description} is mounted: its root is not replaced under it`, {
        hint: "this is for the initrd, before the root is mounted; --dry-run shows here what it would do",
      });
    }
    work(found, names, options, whole, isMounted);
    return exitStatus.done;
  });
}

function theVolume(argument: string, whole: Plan): VolumePlan {
  const [volume, ...others] = planFor(argument, whole).volumes.filter(({ name }) => name === argument);
  if (volume === undefined || others.length > 0) {
    throw new LatchkeyError("usage/invalid", `${argument} is a pool: name the volume that holds the root`);
  }
  if (volume.kind !== "bcachefs") {
    throw new LatchkeyError(
      "usage/invalid",
      `${argument} is ${volume.kind}: a blank root is made of bcachefs subvolumes`,
    );
  }
  return volume;
}

async function refuseWhileResuming({ name }: VolumePlan): Promise<void> {
  const why = await whyResuming({
    kernelCommandLine: readFileSync("/proc/cmdline", "utf8"),
    hasLocation: existsSync(HIBERNATE_LOCATION),
    devices: new SystemBlockDevices(),
  });
  if (why === undefined) return;
  throw new LatchkeyError("rollback/resuming", `${name}: the root is left alone, because ${why}`, {
    hint: "noresume on the kernel command line gives the image up",
  });
}

async function find(volume: VolumePlan, whole: Plan, options: Options): Promise<FoundVolume> {
  return await providerFor(volume, assembleProviders()).find(volume, {
    signal: abortOnSignals(),
    deviceTimeout: options.dryRun ? 0 : whole.deviceTimeout,
    memberTimeout: options.dryRun ? 0 : whole.memberTimeout,
    allowDegraded: whole.policy.allowDegraded,
    note: () => undefined, // that the key is there already, and the like
  });
}

function work(found: FoundVolume, names: RootNames, options: Options, whole: Plan, isMounted: boolean): void {
  // Where a unit has a session keyring of its own, the mount would not find the key; linked already in others.
  try {
    kernelKeyring.link("user", "session");
  } catch {
    // The mount says what it misses.
  }
  const mount = planMount({
    devices: found.devices,
    target: "a private folder",
    options: whole.rootMount?.options ?? [],
    // A look at what nobody has mounted writes nothing; one at a mounted filesystem has to be mounted the same way.
    readOnly: options.dryRun === true && !isMounted,
    degraded: whole.policy.allowDegraded,
  });
  whileMounted(mount, (top, notes) => {
    for (const note of notes) printNote(note);
    const tree = new BcachefsTree(top);
    const retention: Retention = options;
    const plan = planOn(tree, names, retention, new Date());
    if (options.dryRun) tellPlan(plan, options);
    else tellResult(names, carryOut(tree, plan), options);
  });
}

function tellPlan({ steps, deletions, archived }: BlankRootPlan, { json }: Options): void {
  const texts = [...steps, ...deletions].map(stepText);
  if (json) printJson({ steps: texts, archived: archived ?? null });
  else print(texts.join("\n"));
}

function tellResult(
  { root, blank }: RootNames,
  { archived, deleted, notes }: BlankRootResult,
  { json }: Options,
): void {
  for (const note of notes) printNote(note);
  if (json) {
    printJson({ root, blank, archived: archived ?? null, deleted, notes });
    return;
  }
  print(`${root} is a new snapshot of ${blank}${archived === undefined ? "" : `; the old one is ${archived}`}`);
  for (const path of deleted) print(`${path} was deleted`);
}

function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (number >= least && number <= most) return number;
    throw new InvalidArgumentError(`Expected a whole number from ${least} to ${most}`);
  };
}
