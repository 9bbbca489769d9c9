import type { Crypttab, CrypttabEntry } from "./crypttab.ts";
import { type CrypttabOption, optionsDisobeyed, readCrypttabOptions } from "./crypttab-options.ts";
import { isSameReference, parseDeviceReference, volumeUuidProblem } from "./device-reference.ts";
import { kernelCommandLineOrigin } from "./kernel-command-line.ts";
import { readLuksOptions } from "./luks-options.ts";
import type { LuksDevice, LuksParameters } from "./luks-parameters.ts";
import type { DeviceReference, LeftToSystem, LuksPlan, Origin, SourcePlan } from "./plan.ts";
import { type Problem, printOrigin } from "./problems.ts";
import { clevisTimeout } from "./source-registry.ts";
import type { StatedVolume } from "./toml-volumes.ts";
import { parseVolumeName } from "./volume-name.ts";

/** What the machine is, as far as it decides who reads crypttab. */
export interface MachineFacts {
  readonly inInitrd: boolean;
  /** systemd is PID 1. */
  readonly runsSystemd: boolean;
}

/** Where Debian's hooks put the lines of crypttab that an initramfs needs. */
export const cryptrootCrypttab = "/cryptroot/crypttab";

/** A LUKS volume that the system's own files name. */
export interface SystemVolume extends StatedVolume {
  readonly opener: LuksPlan["opener"];
  readonly isOnDemand: boolean;
}

export interface SystemLuks {
  /** Why no LUKS volume at all is opened, if so. */
  readonly isOff: string | undefined;
  readonly volumes: readonly SystemVolume[];
  readonly leftToSystem: readonly LeftVolume[];
  readonly problems: readonly Problem[];
}

interface LeftVolume extends LeftToSystem {
  readonly device: DeviceReference;
}

/** One statement of the system about a volume, from crypttab or the kernel command line. */
interface Statement {
  readonly name: string;
  readonly device: DeviceReference;
  /** Of the header, where the device is named otherwise. */
  readonly uuid?: string;
  readonly keyFile: string | undefined;
  readonly options: readonly CrypttabOption[];
  readonly origin: Origin;
}

/** The LUKS volumes of crypttab and `rd.luks.*`: what latchkey serves, and what it leaves to the system with the reason. */
export function planSystemLuks(
  crypttab: Crypttab | undefined,
  parameters: LuksParameters,
  machine: MachineFacts,
): SystemLuks {
  const isOff = parameters.isEnabled ? undefined : "the kernel command line says luks=0 or rd.luks=0";
  const problems: Problem[] = [];
  const volumes: SystemVolume[] = [];
  const leftToSystem: LeftVolume[] = [];
  const warn = (text: string, origin: Origin): void => {
    problems.push({ severity: "warning", code: "config/invalid-value", origin, text });
  };
  const statements = [
    ...crypttabStatements(crypttab, parameters),
    ...parameterStatements(crypttab, parameters, problems),
  ];
  for (const statement of statements) {
    const { name, origin } = statement;
    const reason = isOff ?? whyLeft(statement) ?? whyNotThroughSystemd(statement, machine);
    if (reason !== undefined) {
      leftToSystem.push({ name, reason, origin, device: statement.device });
      // Not a choice of its owner's but a mistake.
      if (reason === volumeUuidProblem(statement.device)) warn(`${name}: ${reason}`, origin);
      continue;
    }
    const { volume, clauses } = served(statement, machine);
    volumes.push(volume);
    for (const clause of clauses) {
      warn(`${name}: ${clause}`, origin);
    }
  }
  return { isOff, volumes, leftToSystem, problems };
}

/** The lines of crypttab, each with what the kernel command line says of its device. */
function crypttabStatements(crypttab: Crypttab | undefined, parameters: LuksParameters): readonly Statement[] {
  if (!crypttab || !parameters.usesCrypttab) return [];
  return crypttab.entries.flatMap((entry) => {
    const device = parameters.devices.find(({ uuid }) => uuid === uuidOf(entry));
    if (parameters.isExclusive && device?.isWanted !== true) return [];
    return [
      {
        name: entry.name,
        device: entry.device,
        keyFile: device?.keyFile ?? entry.keyFile,
        options: device?.options === undefined ? entry.options : readCrypttabOptions(device.options),
        origin: { file: crypttab.file, line: entry.line },
      },
    ];
  });
}

/** Devices that only the kernel command line names. */
function parameterStatements(
  crypttab: Crypttab | undefined,
  parameters: LuksParameters,
  problems: Problem[],
): readonly Statement[] {
  const inCrypttab = new Set(parameters.usesCrypttab ? crypttab?.entries.map(uuidOf) : []);
  return parameters.devices.flatMap((device) => {
    if (!device.isWanted || inCrypttab.has(device.uuid)) return [];
    const reference = deviceOf(device);
    if (typeof reference === "string") {
      const text = `${reference}: ignored`;
      problems.push({ severity: "warning", code: "config/invalid-value", origin: kernelCommandLineOrigin, text });
      return [];
    }
    return [
      {
        name: device.name ?? `luks-${device.uuid}`,
        device: reference,
        uuid: device.uuid,
        keyFile: device.keyFile ?? parameters.defaultKeyFile,
        options: readCrypttabOptions(device.options ?? parameters.defaultOptions ?? ""),
        origin: kernelCommandLineOrigin,
      },
    ];
  });
}

function deviceOf({ uuid, data }: LuksDevice): DeviceReference | string {
  if (data === undefined) return { by: "tag", tag: "UUID", value: uuid };
  const parsed = parseDeviceReference(data);
  return "problem" in parsed ? `luks.data: ${parsed.problem}` : parsed.value;
}

function uuidOf({ device }: Pick<CrypttabEntry, "device">): string | undefined {
  return device.by === "tag" && device.tag === "UUID" ? device.value : undefined;
}

/** What systemd makes of a line once the system is up. */
const forLater: ReadonlySet<string> = new Set(["noauto", "nofail", "_netdev"]);

/** Options that make something else than LUKS of a device. */
const otherKinds: readonly string[] = [
  ...["plain", "swap", "tmp", "bitlk", "fvault2"],
  ...["tcrypt", "tcrypt-hidden", "tcrypthidden", "tcrypt-system", "tcrypt-veracrypt", "veracrypt"],
];
/** systemd-cryptsetup's own ways to a key, which it goes before anything else. */
const ownTokens: readonly string[] = ["tpm2-device", "fido2-device", "pkcs11-uri"];

/** Why latchkey has nothing to do with an entry; undefined where it serves it. */
function whyLeft({ name, device, keyFile, options }: Statement): string | undefined {
  const has = (wanted: string): boolean => options.some((option) => option.name === wanted);
  const keyscript = options.find((option) => option.name === "keyscript")?.value;
  if (keyscript !== undefined && !isOwnKeyscript(keyscript)) return "a keyscript is named for it";
  const other = otherKinds.find(has);
  if (other !== undefined) return `it is no LUKS volume (${other})`;
  // Without a type both programs look at the device; a cipher then is for one without a header.
  if (!has("luks") && has("cipher") && !has("header")) return "it is no LUKS volume (cipher= without luks)";
  const token = ownTokens.find(has);
  if (token !== undefined) return `systemd-cryptsetup has a way of its own to its key (${token}=)`;
  if (keyFile !== undefined && keyscript === undefined) return "a key file is named for it";
  const named = parseVolumeName(name);
  if ("problem" in named) return named.problem;
  const header = options.find((option) => option.name === "header")?.value;
  if (header === undefined) return volumeUuidProblem(device);
  if (/^\/[^:]*:(?:\/|[A-Za-z]+=)/.test(header)) return "its header is a file on another device";
  return "problem" in parseDeviceReference(header)
    ? "its header is named in a way that latchkey cannot read"
    : undefined;
}

/** Who is about to make the mapping. */
function openerOf({ file }: Origin, machine: MachineFacts): LuksPlan["opener"] {
  return machine.inInitrd && machine.runsSystemd && file !== cryptrootCrypttab ? "systemd" : "latchkey";
}

/**
 * systemd-cryptsetup counts a key that it gets from nobody as one of `tries=`. Where there is but one, its question would not come if
 * latchkey failed.
 */
function whyNotThroughSystemd({ options, origin }: Statement, machine: MachineFacts): string | undefined {
  const hasOneTry = options.findLast(({ name }) => name === "tries")?.value === "1";
  return hasOneTry && openerOf(origin, machine) === "systemd"
    ? "with tries=1 systemd-cryptsetup would have none left for its question"
    : undefined;
}

/** `latchkey keyscript` as crypttab names it, by whatever path. */
export function isOwnKeyscript(path: string): boolean {
  return /(?:^|\/)latchkey(?:[-_.][^/]*)?$/.test(path);
}

function served(
  { name, device, uuid, options, origin }: Statement,
  machine: MachineFacts,
): { readonly volume: SystemVolume; readonly clauses: readonly string[] } {
  const isDebians = origin.file === cryptrootCrypttab;
  // What an initramfs of Debian's carries it needs, whatever the line says for later, and cryptroot waits and asks for it.
  const counted = isDebians ? options.filter((option) => !forLater.has(option.name)) : options;
  const { settings, isOnDemand, isHeadless, problems } = readLuksOptions(counted);
  const opener = openerOf(origin, machine);
  const hasKeyscript = options.some((option) => option.name === "keyscript");
  return {
    volume: {
      name,
      kind: "luks",
      certainty: "stated",
      devices: [device],
      luks: uuid === undefined ? settings : { ...settings, uuid },
      origin,
      opener,
      // A keyscript waits to be called.
      isOnDemand: isOnDemand || hasKeyscript,
      ...(isHeadless ? { sources: headless } : {}),
    },
    // On a system that is up latchkey opens by hand what systemd opens at boot, and the boot is what the line is for.
    clauses: [
      ...problems.map((problem) => `${problem}: ignored`),
      ...optionsDisobeyed(machine.inInitrd || !machine.runsSystemd ? opener : "systemd", options),
    ],
  };
}

export interface SplitVolumes {
  readonly volumes: readonly StatedVolume[];
  readonly leftToSystem: readonly LeftToSystem[];
  readonly problems: readonly Problem[];
}

/**
 * Volumes of the configuration without those that crypttab gives to the system: two that open one volume would be in each
 * other's way.
 */
export function splitLeft(volumes: readonly StatedVolume[], { isOff, leftToSystem }: SystemLuks): SplitVolumes {
  const kept: StatedVolume[] = [];
  const left: LeftToSystem[] = [];
  const problems: Problem[] = [];
  for (const volume of volumes) {
    const { name, kind, devices, origin } = volume;
    const inCrypttab = leftToSystem.find(
      (one) => one.name === name || devices.some((device) => isSameReference(device, one.device)),
    );
    if (kind !== "luks" || (inCrypttab === undefined && isOff === undefined)) {
      kept.push(volume);
    } else if (isOff !== undefined) {
      left.push({ name, reason: isOff, origin });
    } else if (inCrypttab) {
      const text = `left to the system: ${inCrypttab.reason} (${printOrigin(inCrypttab.origin)})`;
      problems.push({ severity: "warning", code: "config/invalid-value", origin, key: `volumes.${name}`, text });
    }
  }
  return { volumes: kept, leftToSystem: left, problems };
}

const headless: readonly SourcePlan[] = [{ kind: "clevis", timeout: clevisTimeout, inHeader: "if-any" }];
