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
import { LatchMarks } from "../unlock/latch-marks.ts";
import { closeLatchAfter, mappingsOpenIn } from "../unlock/pcr-latch.ts";
import { unlockVolumes } from "../unlock/unlock.ts";
import { build, version } from "../version.ts";
import { assembleAfterOpening, assembleProviders, assembleSources } from "./assemble.ts";
import { abortOnSignals } from "./interrupt.ts";
import { acts, print } from "./run.ts";
import { withVaults } from "./volume-argument.ts";
import { openVolumes, startWaitingMounts } from "./waiting-mounts.ts";

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
    const found = await lookAt(device, loadPlan({ mode: "boot", configFile: options.config }));
    if ("volumes" in found) return exitStatus.done;
    print(`${device} is left alone: ${found.why}`);
    return exitStatus.failed;
  });
  acts(withOptions("in"), async (device: string, options: Options) => {
    hardenProcess();
    return await pluggedIn(device, loadPlan({ mode: "boot", configFile: options.config }));
  });
  acts(withOptions("out"), (device: string) => pulledOut(device));
}

/** The volumes that the configuration opens with a key on a device, or why there are none. */
type Looked = { readonly volumes: readonly string[] } | { readonly why: string };

async function lookAt(device: string, plan: Plan): Promise<Looked> {
  const wanted = plan.volumes.flatMap(({ name, sources }) =>
    sources.flatMap((source) => (source.kind === "usb" ? [{ name, source }] : [])),
  );
  if (!plan.enabled) return { why: "latchkey is switched off on the kernel command line" };
  if (wanted.length === 0) return { why: "the configuration has no stick" };
  const stick = new SystemSticks().look(device);
  if (!stick) return { why: "it is not there any longer" };
  using reader = new ChildKeyReader();
  const identity = await reader.identify(device, stick.partitionOf, new AbortController().signal);
  const meant = wanted.filter(({ source }) => isMeant(source, identity));
  const usable = meant.filter(({ source }) => stick.isRemovable || source.anyBus);
  if (usable.length > 0) return { volumes: [...new Set(usable.map(({ name }) => name))] };
  if (meant.length > 0) return { why: "it is neither removable nor on a USB bus" };
  const filesystems = identity.filesystems.map(({ type, uuid }) => `${type} ${uuid}`);
  const partition = identity.partition === undefined ? [] : [`partition ${identity.partition}`];
  const what = [...filesystems, ...partition].join(", ");
  return { why: `${what === "" ? "what is on it" : what} is no stick of the configuration` };
}

/** Nobody is asked: what a person wants opened by hand, a person opens. */
async function pluggedIn(device: string, whole: Plan): Promise<number> {
  const found = await lookAt(device, whole);
  if ("why" in found) {
    print(`${device} is left alone: ${found.why}`);
    return exitStatus.done;
  }
  const served = found.volumes;
  // First, so that a stick that is pulled while its volumes open is known, too.
  const directory = new RunDirectory();
  directory.create();
  directory.write(noteOf(device), `${served.join("\n")}\n`);
  const pools = whole.pools.filter(({ volumes }) => volumes.some((name) => served.includes(name)));
  const names = new Set([...served, ...pools.flatMap(({ volumes }) => volumes)]);
  const { rootMount: _, ...rest } = whole;
  const part = { ...rest, volumes: whole.volumes.filter(({ name }) => names.has(name)), pools };
  const plan = withVaults({ ...part, deviceTimeout: 0, memberTimeout: 0 }, whole);
  const providers = assembleProviders();
  await using assembled = assembleSources(plan, providers);
  const report = await unlockVolumes(
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
  // A TPM may serve one connection at a time, and the tokens have had theirs.
  await assembled[Symbol.asyncDispose]();
  const latched = await closeLatchAfter(mappingsOpenIn(report, plan), whole, new LatchMarks());
  if (latched !== undefined) print(latched);
  for (const line of await startWaitingMounts(openVolumes(plan.volumes, report.volumes))) print(line);
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
