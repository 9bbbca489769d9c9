import { kernelCommandLineOrigin } from "./kernel-command-line.ts";
import { tokenizeKernelCommandLine } from "./kernel-parameters.ts";
import { quoted } from "./parsed.ts";
import { type Problem, ProblemList } from "./problems.ts";
import { maxVolumes } from "./toml-volumes.ts";

/** One LUKS device of the kernel command line. */
export interface LuksDevice {
  /** Lower case. */
  readonly uuid: string;
  /** Named by `luks.uuid=` or `luks.name=`: it is to be opened. Otherwise only its options are known. */
  readonly isWanted: boolean;
  readonly name?: string;
  /** As in the fourth field of crypttab. */
  readonly options?: string;
  readonly keyFile?: string;
  /** Where the data is, when the header with that UUID is detached. */
  readonly data?: string;
}

/** `luks.*` and `rd.luks.*` of the kernel command line, systemd-cryptsetup-generator(8). */
export interface LuksParameters {
  /** `luks=0`, or in the initrd `rd.luks=0`: nothing is opened by itself. */
  readonly isEnabled: boolean;
  /** `luks.crypttab=0`: crypttab does not count. */
  readonly usesCrypttab: boolean;
  /** Some device is named here, so those that are not stay closed. */
  readonly isExclusive: boolean;
  readonly devices: readonly LuksDevice[];
  /** For devices without options of their own here and without a line in crypttab. */
  readonly defaultOptions?: string;
  readonly defaultKeyFile?: string;
  /** All of them warnings. */
  readonly problems: readonly Problem[];
}

const uuidPattern = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;

/**
 * Never throws. Outside of an initrd `rd.luks.*` has had its day: the devices it names are still listed, for they are open
 * now, but it closes nothing and switches nothing off.
 */
export function parseLuksParameters(text: string, inInitrd: boolean): LuksParameters {
  const problems = new ProblemList();
  const devices = new Map<string, LuksDevice>();
  const defaults: { defaultOptions?: string; defaultKeyFile?: string } = {};
  const switches = { isEnabled: true, usesCrypttab: true };
  let isExclusive = false;

  for (const { name: key, value } of tokenizeKernelCommandLine(text)) {
    const match = /^(rd\.)?luks(?:\.(.+))?$/.exec(key);
    if (!match) continue;
    const counts = match[1] === undefined || inInitrd;
    const warn = (problem: string): void =>
      problems.add({
        severity: "warning",
        code: "config/invalid-value",
        origin: kernelCommandLineOrigin,
        key,
        text: `${problem}: ignored`,
      });
    const change = (uuid: string, what: Partial<LuksDevice>): void => {
      if (devices.size >= maxVolumes && !devices.has(uuid)) return;
      devices.set(uuid, { isWanted: false, ...devices.get(uuid), ...what, uuid });
    };
    /** `UUID=value`, as three of them are written. */
    const withUuid = (then: (uuid: string, rest: string) => void): boolean => {
      const [first, ...rest] = (value ?? "").split("=");
      const uuid = readUuid(first ?? "");
      if (uuid === undefined || rest.length === 0) return false;
      then(uuid, rest.join("="));
      return true;
    };
    switch (match[2]) {
      case undefined:
      case "crypttab":
        if (isNo(value) && counts) switches[match[2] === undefined ? "isEnabled" : "usesCrypttab"] = false;
        break;
      case "uuid": {
        const uuid = readUuid(value ?? "");
        if (uuid === undefined) {
          warn(`expected a whole UUID, got ${quoted(value ?? "")}`);
        } else {
          change(uuid, { isWanted: true });
          isExclusive ||= counts;
        }
        break;
      }
      case "name": {
        const isRead = withUuid((uuid, name) => {
          change(uuid, { isWanted: true, name });
          isExclusive ||= counts;
        });
        if (!isRead) warn(`expected UUID=NAME, got ${quoted(value ?? "")}`);
        break;
      }
      case "data":
        if (!withUuid((uuid, data) => change(uuid, { data }))) warn(`expected UUID=DEVICE, got ${quoted(value ?? "")}`);
        break;
      case "options":
        if (!withUuid((uuid, options) => change(uuid, { options }))) defaults.defaultOptions = value ?? "";
        break;
      case "key":
        if (!withUuid((uuid, keyFile) => change(uuid, { keyFile }))) defaults.defaultKeyFile = value ?? "";
        break;
    }
  }
  return { ...switches, isExclusive, devices: [...devices.values()], ...defaults, problems: problems.all };
}

/** dracut and systemd take `luks-` in front of it. */
function readUuid(text: string): string | undefined {
  const uuid = text.replace(/^luks-/, "").toLowerCase();
  return uuidPattern.test(uuid) ? uuid : undefined;
}

function isNo(value: string | undefined): boolean {
  return value !== undefined && /^(?:0|no|n|false|f|off)$/i.test(value);
}
