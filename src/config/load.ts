import { existsSync, readdirSync } from "node:fs";
import { asLatchkeyError, LatchkeyError } from "../system/errors.ts";
import { type Crypttab, parseCrypttab } from "./crypttab.ts";
import { type Fstab, parseFstab } from "./fstab.ts";
import { parseKernelCommandLine } from "./kernel-command-line.ts";
import { parseLuksParameters } from "./luks-parameters.ts";
import { type MadePlan, makePlan } from "./make-plan.ts";
import type { Plan } from "./plan.ts";
import { type Problem, problemLine, refuseErrors } from "./problems.ts";
import { type ReadText, readTextFile } from "./read-text.ts";
import { cryptrootCrypttab, type MachineFacts } from "./system-luks.ts";
import { parseToml, type TomlConfiguration } from "./toml.ts";

export const configurationFolder = "/etc/latchkey";
export const configurationFile = `${configurationFolder}/latchkey.toml`;

/** Where the token of a volume lies when the configuration names no other place. */
export function usualToken(volume: string): string {
  return `${configurationFolder}/${volume}.jwe`;
}

export interface LoadOptions {
  /**
   * `strict` for commands that a person runs: an error in the configuration ends them.
   * `boot`: nothing does. What is wrong is left out with a warning, and the plan is made of what is left.
   */
  readonly mode: "strict" | "boot";
  /** Named by `--config`: then it must be there. */
  readonly configFile?: string | undefined;
  readonly read?: ReadText;
  /** Names of the files in a folder, sorted; empty where it cannot be read. */
  readonly list?: (folder: string) => readonly string[];
  /** Instead of /proc/cmdline. */
  readonly kernelCommandLine?: string | undefined;
  readonly machine?: MachineFacts;
  /** Instead of the system's. */
  readonly fstab?: string;
}

/**
 * NixOS has no /etc/fstab in its initrd but names the file with the mounts of the real root in systemd's own variable for it
 * (systemd's docs/ENVIRONMENT.md), which the units pass on.
 */
function fstabFile(environment: Readonly<Record<string, string | undefined>>): string {
  const named = environment["SYSTEMD_SYSROOT_FSTAB"];
  return named?.startsWith("/") ? named : "/etc/fstab";
}

/** os-release(5) on INITRD, and sd_booted(3). */
function thisMachine(): MachineFacts {
  return { inInitrd: existsSync("/etc/initrd-release"), runsSystemd: existsSync("/run/systemd/system") };
}

/**
 * Reads latchkey.toml, the kernel command line, fstab and crypttab, and makes the plan. Files that are not there are fine.
 * @throws LatchkeyError in strict mode only, with outcome `configuration`
 */
export function loadPlan(options: LoadOptions): Plan {
  const { plan, problems } = loadPlanWithProblems(options);
  if (options.mode === "strict") refuseErrors(problems);
  return plan;
}

/**
 * The same for whoever tells of all that is wrong: errors end nothing, they are in the list. What has them is left out of the
 * plan, as at boot.
 */
export function loadPlanWithProblems({
  mode,
  configFile,
  read = readTextFile,
  list = listFolder,
  kernelCommandLine,
  machine = thisMachine(),
  fstab = fstabFile(process.env),
}: LoadOptions): MadePlan {
  const problems: Problem[] = [];
  /** The file's content as data; a file that cannot be read is a problem of the plan, not of the caller. */
  const parsed = <T>(path: string, severity: Problem["severity"], parse: (text: string, file: string) => T) => {
    try {
      const text = read(path);
      return text === undefined ? undefined : parse(text, path);
    } catch (thrown) {
      if (mode === "strict" && !(thrown instanceof LatchkeyError)) throw thrown;
      const text = asLatchkeyError(thrown).message.replace(`${path}: `, "");
      problems.push({ severity, code: "config/unreadable", origin: { file: path }, text });
      return undefined;
    }
  };

  const toml = parsed<TomlConfiguration>(configFile ?? configurationFile, "error", (text, file) =>
    parseToml(text, file),
  );
  if (configFile !== undefined && toml === undefined && problems.length === 0) {
    problems.push({
      severity: "error",
      code: "config/unreadable",
      origin: { file: configFile },
      text: "no such file",
    });
  }
  const textOf = (path: string): string => parsed(path, "warning", (text) => text.trim()) ?? "";
  const commandLine = kernelCommandLine ?? [...imageCommandLine(list), "/proc/cmdline"].map(textOf).join(" ");
  const made = makePlan({
    toml,
    kernel: parseKernelCommandLine(commandLine),
    luksParameters: parseLuksParameters(commandLine, machine.inInitrd),
    machine,
    fstab: parsed<Fstab>(fstab, "warning", parseFstab),
    crypttab:
      parsed<Crypttab>(cryptrootCrypttab, "warning", parseCrypttab) ??
      parsed<Crypttab>("/etc/crypttab", "warning", parseCrypttab),
    tokens: new Set(
      list(configurationFolder).flatMap((name) => (name.endsWith(".jwe") ? [name.slice(0, -".jwe".length)] : [])),
    ),
  });
  return {
    plan: { ...made.plan, warnings: [...problems.map(problemLine), ...made.plan.warnings] },
    problems: [...problems, ...made.problems],
  };
}

/**
 * A hostonly dracut image may carry root= in files of its own, read before the kernel's (getcmdline of dracut-lib.sh), so
 * that the kernel command line wins. Outside of such an image the folder does not exist.
 */
function imageCommandLine(list: (folder: string) => readonly string[]): readonly string[] {
  const folder = "/etc/cmdline.d";
  return list(folder).flatMap((name) => (name.endsWith(".conf") ? [`${folder}/${name}`] : []));
}

export function listFolder(folder: string): readonly string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return []; // there is none, or it is not for us to read: then there is nothing for us in it either
  }
}
