import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { partForBoot } from "../config/boot-part.ts";
import { loadPlan } from "../config/load.ts";
import type { Plan } from "../config/plan.ts";
import { kernelKnowsBcachefs } from "../providers/bcachefs/mount.ts";
import { devicesBelowNode } from "../system/below-mount.ts";
import { SystemBlockDevices } from "../system/block-devices.ts";
import { monotonicClock } from "../system/clock.ts";
import { asLatchkeyError, exitStatus } from "../system/errors.ts";
import { armDeadMansSwitch, hardenProcess } from "../system/hardening.ts";
import { RunDirectory } from "../system/run-directory.ts";
import { handOver, planHandover } from "../unlock/handover.ts";
import { LatchMarks } from "../unlock/latch-marks.ts";
import { neededVolumes } from "../unlock/needed.ts";
import { closeLatch } from "../unlock/pcr-latch.ts";
import { append, type EventRecord, type Report } from "../unlock/report.ts";
import { findRootsInside } from "../unlock/root-inside.ts";
import { type InitrdFacts, mountRoot, planRootMount, SYSROOT } from "../unlock/root-mount.ts";
import { unlockVolumes } from "../unlock/unlock.ts";
import { build, version } from "../version.ts";
import { assembleAfterOpening, assembleProviders, assembleSources } from "./assemble.ts";
import { withDeviceTimeout } from "./device-timeout.ts";
import { abortOnSignals } from "./interrupt.ts";
import { listenForSystemd } from "./listen-for-systemd.ts";
import { acts, say } from "./run.ts";

interface Options {
  readonly config?: string;
  readonly deviceTimeout?: string;
}

/**
 * Seconds the event loop may stand still before the process ends itself. The longest thing that may block it is one key
 * derivation, where the worker could not start: 4 s under emulation.
 */
const DEAD_MANS_SECONDS = 60;

export function registerBoot(program: Command): void {
  const command = program
    .command("boot")
    .summary("the initrd's entry: plan, race, open, report")
    .description(
      "Opens every configured volume while the machine boots: runs in the initrd, asks when nothing else has the key, leaves a report in /run/latchkey. Whatever goes wrong, it ends, and the system's own way in follows.",
    )
    .option("--config <file>", "configuration file")
    .option("--device-timeout <duration>", "wait no longer than this for devices, whatever the configuration says")
    .addHelpText("after", "\nExample (in a unit of the initrd):\n  ExecStart=/usr/bin/latchkey boot");
  acts(command, async (options: Options) => {
    hardenProcess();
    const disarm = armDeadMansSwitch(DEAD_MANS_SECONDS);
    // Not print(): a journal that takes nothing must not hold up the boot, or fail it.
    const announce = (line: string): void => say(process.stdout, `latchkey: ${line}`);
    const whole = loadPlan({ mode: "boot", configFile: options.config });
    const plan = partForBoot(withDeviceTimeout(whole, options.deviceTimeout));
    if (!plan.enabled) {
      announce("switched off by rd.latchkey=0");
      return exitStatus.done;
    }
    for (const warning of plan.warnings) announce(`warning: ${warning}`);
    void warnWithoutKernelModule(plan, announce);
    const directory = new RunDirectory();
    const signal = abortOnSignals();
    const happened: EventRecord[] = [];
    using listening = listenForSystemd(plan, directory, (kind, text, volume) => {
      append(happened, { at_ms: monotonicClock.now(), volume, source: null, text });
      if (kind === "problem") announce(volume === null ? text : `${volume}: ${text}`);
    });
    const providers = assembleProviders({ systemdOpener: listening.systemdOpener });
    await using assembled = assembleSources(plan, providers, { announce });
    const report = await unlockVolumes(
      {
        plan,
        providers,
        sources: assembled.sources,
        clock: monotonicClock,
        version,
        build,
        announce,
        needed: neededVolumes(plan),
        afterOpening: assembleAfterOpening(),
        settled: (volume, standing) => listening.release(volume, standing),
      },
      signal,
    );
    // Before a mount that may take its time: whatever is still closed is systemd's to ask for.
    listening[Symbol.dispose]();
    for (const event of happened) append(report.events, event);
    report.events.sort((one, other) => one.at_ms - other.at_ms);
    // A TPM may serve one connection at a time, and the tokens have had theirs.
    await assembled[Symbol.asyncDispose]();
    const line = await closeLatch(plan, report, new LatchMarks());
    if (line !== undefined) {
      announce(line);
      report.events.push({ at_ms: monotonicClock.now(), volume: null, source: null, text: line });
    }
    mountIfNeeded(plan, report, announce, disarm);
    const inside = await findRootsInside(plan, report, { devices: new SystemBlockDevices(), below: devicesBelowNode });
    try {
      directory.create();
      handOver(directory, report, planHandover(plan, report), inside);
    } catch (thrown) {
      // What is open stays open: a full /run must not stop the boot.
      announce(asLatchkeyError(thrown).message);
    }
    disarm();
    return exitStatus[report.outcome ?? "failed"];
  });
}

/** Milliseconds for modprobe; it takes some tenths of a second under emulation. */
const MODPROBE_LIMIT = 10_000;

/**
 * Nothing that is unlocked can be mounted without the module, which is no part of the kernel since 6.18. Said beside the
 * question, not instead of it: whether a mount will work is for the mount to say.
 */
async function warnWithoutKernelModule(plan: Plan, announce: (line: string) => void): Promise<void> {
  if (!plan.volumes.some(({ kind, certainty }) => kind === "bcachefs" && certainty === "stated")) return;
  if (await kernelKnowsBcachefs()) return;
  try {
    await Bun.spawn(["modprobe", "--quiet", "bcachefs"], {
      stdio: ["ignore", "ignore", "ignore"],
      timeout: MODPROBE_LIMIT,
    }).exited;
  } catch {
    // No modprobe in this image: then what is loaded is all there is.
  }
  if (await kernelKnowsBcachefs()) return;
  announce("warning: this kernel has no bcachefs module in the initrd: what is unlocked cannot be mounted");
}

/** A mount that fails is told and left to the system, which tries in its own way and shows what it thinks of it. */
function mountIfNeeded(plan: Plan, report: Report, announce: (line: string) => void, disarm: () => void): void {
  const request = planRootMount(plan, report, initrdFacts());
  if (!request) return;
  try {
    for (const note of mountRoot(request, disarm)) announce(note);
    announce(`mounted ${request.devices.join(" and ")} on ${request.target}`);
  } catch (thrown) {
    const { message, hint } = asLatchkeyError(thrown);
    announce(message);
    if (hint !== undefined) announce(`hint: ${hint}`);
  }
}

function initrdFacts(): InitrdFacts {
  return {
    inInitrd: existsSync("/etc/initrd-release"), // os-release(5), INITRD
    hasMountHelper: ["/sbin", "/usr/sbin", "/bin", "/usr/bin"].some((folder) => existsSync(`${folder}/mount.bcachefs`)),
    sysrootIsMounted: isMountPoint(SYSROOT),
  };
}

/** The root of another device than its parent folder. A folder that is not there is taken for one, so that nothing mounts. */
function isMountPoint(path: string): boolean {
  try {
    return statSync(path).dev !== statSync(join(path, "..")).dev;
  } catch {
    return true;
  }
}
