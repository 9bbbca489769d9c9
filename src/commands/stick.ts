import { basename } from "node:path";
import type { Command } from "commander";
import { loadPlan } from "../config/load.ts";
import type { Plan } from "../config/plan.ts";
import { StagedKeys } from "../providers/luks/systemd-lane/staged-keys.ts";
import { ChildKeyReader } from "../sources/usb/child-reader.ts";
import { SystemSticks } from "../sources/usb/sticks.ts";
import { isMeant } from "../sources/usb/usb-source.ts";
import { monotonicClock } from "../system/clock.ts";
import { exitStatus } from "../system/errors.ts";
import { hardenProcess } from "../system/hardening.ts";
import { RunDirectory } from "../system/run-directory.ts";
import { unlockVolumes } from "../unlock/unlock.ts";
import { build, version } from "../version.ts";
import { assembleAfterOpening, assembleProviders, assembleSources } from "./assemble.ts";
import { abortOnSignals } from "./interrupt.ts";
import { acts, print } from "./run.ts";
import { withVaults } from "./volume-argument.ts";

interface Options {
  readonly config?: string;
}

/** For latchkey-token@.service, which udev starts: what came, and what went. Not part of the help. */
export function registerStick(program: Command): void {
  const command = program
    .command("stick", { hidden: true })
    .summary("a stick was plugged in or pulled out")
    .description("For latchkey-token@.service, when something is plugged into USB or pulled out.");
  const withOptions = (name: string): Command =>
    command.command(name).argument("<device>").option("--config <file>", "configuration file");
  acts(withOptions("is-ours"), async (device: string, options: Options) => {
    const volumes = await volumesOf(device, loadPlan({ mode: "boot", configFile: options.config }));
    return volumes.length > 0 ? exitStatus.done : exitStatus.failed;
  });
  acts(withOptions("in"), async (device: string, options: Options) => {
    hardenProcess();
    return await pluggedIn(device, loadPlan({ mode: "boot", configFile: options.config }));
  });
  acts(withOptions("out"), (device: string) => pulledOut(device));
}

/** The volumes that the configuration opens with a key on this device. */
async function volumesOf(device: string, plan: Plan): Promise<readonly string[]> {
  const wanted = plan.volumes.flatMap(({ name, sources }) =>
    sources.flatMap((source) => (source.kind === "usb" ? [{ name, source }] : [])),
  );
  const stick = new SystemSticks().look(device);
  if (!plan.enabled || wanted.length === 0 || !stick) return [];
  using reader = new ChildKeyReader();
  const identity = await reader.identify(device, stick.partitionOf, new AbortController().signal);
  const names = wanted.flatMap(({ name, source }) =>
    (stick.isRemovable || source.anyBus) && isMeant(source, identity) ? [name] : [],
  );
  return [...new Set(names)];
}

/** Nobody is asked: what a person wants opened by hand, a person opens. */
async function pluggedIn(device: string, whole: Plan): Promise<number> {
  const served = await volumesOf(device, whole);
  const pools = whole.pools.filter(({ volumes }) => volumes.some((name) => served.includes(name)));
  const names = new Set([...served, ...pools.flatMap(({ volumes }) => volumes)]);
  const { rootMount: _, ...rest } = whole;
  const part = { ...rest, volumes: whole.volumes.filter(({ name }) => names.has(name)), pools };
  const plan = withVaults({ ...part, deviceTimeout: 0, memberTimeout: 0 }, whole);
  const providers = assembleProviders();
  await using assembled = assembleSources(plan, providers);
  await unlockVolumes(
    {
      plan,
      providers,
      sources: assembled.sources.filter(({ isQuestion }) => !isQuestion),
      clock: monotonicClock,
      version,
      build,
      announce: print,
      afterOpening: assembleAfterOpening(),
    },
    abortOnSignals(),
  );
  const directory = new RunDirectory();
  directory.create();
  directory.write(noteOf(device), `${served.join("\n")}\n`);
  return exitStatus.done;
}

/** What is open stays open; only keys that still lie there, waiting to be used, go. */
async function pulledOut(device: string): Promise<number> {
  const directory = new RunDirectory();
  const note = Bun.file(directory.file(noteOf(device)));
  const volumes = (await note.exists()) ? (await note.text()).split("\n").filter((name) => name !== "") : [];
  const staged = new StagedKeys();
  for (const name of volumes) if (staged.withdraw(name)) print(`${name}: its staged key is gone with the stick`);
  directory.remove(noteOf(device));
  return exitStatus.done;
}

function noteOf(device: string): string {
  return `plugged-${basename(device)}`;
}
