import { parseDeviceList, volumeUuidProblem, withoutRepeats } from "./device-reference.ts";
import { parseDuration } from "./duration.ts";
import { isSameParameterName, tokenizeKernelCommandLine } from "./kernel-parameters.ts";
import { readKind } from "./kinds.ts";
import { suggestion } from "./nearest.ts";
import { type Parsed, quoted } from "./parsed.ts";
import type { LeftToSystem, Origin } from "./plan.ts";
import { type Problem, ProblemList } from "./problems.ts";
import { maxVolumes, type StatedVolume } from "./toml-volumes.ts";
import { parseVolumeName } from "./volume-name.ts";

/** How messages name it: it has no file that a person could open and edit. */
export const kernelCommandLineOrigin: Origin = { file: "kernel command line" };

/** What the kernel command line says about latchkey and the root filesystem (bootparam(7), systemd-fstab-generator(8)). */
export interface KernelCommandLine {
  readonly enabled?: boolean;
  readonly debug?: boolean;
  /** Milliseconds. */
  readonly promptAfter?: number;
  readonly volumes: readonly StatedVolume[];
  readonly leftToSystem: readonly LeftToSystem[];
  /** `root=` as written; what it means is decided where it is used. */
  readonly root?: string;
  readonly rootType?: string;
  /** All `rootflags=`, cut at their commas. */
  readonly rootFlags: readonly string[];
  /** The later of `ro` and `rw`. */
  readonly rootReadOnly?: boolean;
  /** All of them warnings: a command line cannot be mended on a system that already runs. */
  readonly problems: readonly Problem[];
}

const ownParameters = ["rd.latchkey", "rd.latchkey.debug", "rd.latchkey.volume", "rd.latchkey.prompt_after"];

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Never throws: a parameter that cannot be used is a warning, and the boot goes on without it. */
export function parseKernelCommandLine(text: string): KernelCommandLine {
  const problems = new ProblemList();
  const volumes = new Map<string, StatedVolume>();
  const leftToSystem: LeftToSystem[] = [];
  const rootFlags: string[] = [];
  const found: Partial<Mutable<KernelCommandLine>> = {};
  const warn = (key: string, problem: string, code: Problem["code"] = "config/invalid-value"): void =>
    problems.add({ severity: "warning", code, origin: kernelCommandLineOrigin, key, text: problem });
  const used = <T>(key: string, parsed: Parsed<T>): T | undefined => {
    if ("value" in parsed) return parsed.value;
    warn(key, `${parsed.problem}: ignored`);
    return undefined;
  };

  for (const { name, value } of tokenizeKernelCommandLine(text)) {
    const own = ownParameters.find((known) => isSameParameterName(known, name));
    if (own === "rd.latchkey" || own === "rd.latchkey.debug") {
      const answer = used(own, parseBoolean(value));
      if (answer !== undefined) found[own === "rd.latchkey" ? "enabled" : "debug"] = answer;
    } else if (own === "rd.latchkey.prompt_after") {
      const duration = used(own, parseDuration(value ?? ""));
      if (duration !== undefined) found.promptAfter = duration;
    } else if (own === "rd.latchkey.volume") {
      const volume = used(own, parseVolume(value ?? ""));
      if (volume === undefined) continue;
      if ("reason" in volume) {
        leftToSystem.push(volume);
        warn(own, `${volume.name}: ${volume.reason}`, "config/not-in-this-version");
      } else if (volumes.size < maxVolumes) {
        volumes.set(volume.name, together(volumes.get(volume.name), volume));
      }
    } else if (name.startsWith("rd.latchkey")) {
      const problem = `no such parameter${suggestion(name, ownParameters)}: ignored`;
      warn(shortName(name), problem, "config/unknown-key");
    } else if (name === "root" && value !== undefined) {
      found.root = value;
    } else if (name === "rootfstype" && value !== undefined) {
      found.rootType = value;
    } else if (name === "rootflags" && value !== undefined) {
      rootFlags.push(...value.split(",").filter((flag) => flag !== ""));
    } else if ((name === "ro" || name === "rw") && value === undefined) {
      found.rootReadOnly = name === "ro";
    }
  }
  return { ...found, volumes: [...volumes.values()], leftToSystem, rootFlags, problems: problems.all };
}

/** A name of a parameter for a message: without a value, which could be anything, and with an end. */
function shortName(name: string): string {
  return name.length <= 80 ? name : `${name.slice(0, 80)}…`;
}

/** As systemd reads its own switches: `rd.latchkey.debug` alone is yes. */
function parseBoolean(value: string | undefined): Parsed<boolean> {
  if (value === undefined) return { value: true };
  if (/^(?:1|yes|y|true|t|on)$/i.test(value)) return { value: true };
  if (/^(?:0|no|n|false|f|off)$/i.test(value)) return { value: false };
  return { problem: `expected 0 or 1, got ${quoted(value)}` };
}

/** `NAME=KIND:DEVICE`, where DEVICE may be several paths joined by colons. */
function parseVolume(text: string): Parsed<StatedVolume | LeftToSystem> {
  const match = /^([^=]*)=([^:]*):(.*)$/s.exec(text);
  if (!match) return { problem: `expected NAME=KIND:DEVICE, got ${quoted(text)}` };
  const [, nameText = "", kindText = "", deviceText = ""] = match;
  const name = parseVolumeName(nameText);
  if ("problem" in name) return name;
  const kind = readKind(kindText);
  if ("later" in kind) return { value: { name: name.value, reason: kind.problem, origin: kernelCommandLineOrigin } };
  if ("problem" in kind) return kind;
  const devices = parseDeviceList(deviceText);
  if ("problem" in devices) return devices;
  const [uuidProblem] = devices.value.map(volumeUuidProblem).filter((problem) => problem !== undefined);
  if (uuidProblem !== undefined) return { problem: uuidProblem };
  return {
    value: {
      name: name.value,
      kind: kind.kind,
      certainty: "stated",
      devices: devices.value,
      ...(kind.kind === "luks" ? { luks: {} } : {}),
      origin: kernelCommandLineOrigin,
    },
  };
}

/** The same name again adds its devices, as long as the kind is the same; otherwise the later one counts, as usual there. */
function together(known: StatedVolume | undefined, volume: StatedVolume): StatedVolume {
  if (known === undefined || known.kind !== volume.kind) return volume;
  return { ...volume, devices: withoutRepeats([...known.devices, ...volume.devices]) };
}
