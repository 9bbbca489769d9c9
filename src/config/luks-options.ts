import type { CrypttabOption } from "./crypttab-options.ts";
import { parseDuration } from "./duration.ts";
import { quoted } from "./parsed.ts";
import type { LuksSettings } from "./plan.ts";

/** What a list of crypttab options means for a LUKS volume that latchkey serves. */
export interface LuksOptions {
  readonly settings: LuksSettings;
  /** `noauto`: not at boot. */
  readonly isOnDemand: boolean;
  /** `headless`: nobody is to be asked. */
  readonly isHeadless: boolean;
  /** One clause for each value that cannot be used. */
  readonly problems: readonly string[];
}

/** LUKS2_KEYSLOTS_MAX of cryptsetup; LUKS1 has 8. */
export const maxKeySlots = 32;
/** dm-crypt's flags, by their names in crypttab (cryptsetup-open(8) has them with `--perf-`). */
const performanceOptions: Readonly<Record<string, string>> = {
  "same-cpu-crypt": "--perf-same_cpu_crypt",
  "submit-from-crypt-cpus": "--perf-submit_from_crypt_cpus",
  "no-read-workqueue": "--perf-no_read_workqueue",
  "no-write-workqueue": "--perf-no_write_workqueue",
};

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Of options that contradict each other the last counts, as for both programs that read the file. */
export function readLuksOptions(options: readonly CrypttabOption[]): LuksOptions {
  const settings: Mutable<LuksSettings> = {};
  const openOptions = new Set<string>();
  const problems: string[] = [];
  let isOnDemand = false;
  let isHeadless = false;
  const number = (option: CrypttabOption, maximum: number): number | undefined => {
    const text = option.value ?? "";
    if (/^\d{1,15}$/.test(text) && Number(text) <= maximum) return Number(text);
    problems.push(`${option.name}=: expected a number up to ${maximum}, got ${quoted(text)}`);
    return undefined;
  };
  for (const option of options) {
    const performance = performanceOptions[option.name];
    if (performance !== undefined) openOptions.add(performance);
    switch (option.name) {
      case "discard":
      case "allow-discards":
        settings.allowDiscards = true;
        break;
      case "readonly":
      case "read-only":
        settings.readOnly = true;
        break;
      case "key-slot":
      case "keyslot":
        assign(settings, "keySlot", number(option, maxKeySlots - 1));
        break;
      case "header":
        assign(settings, "header", option.value);
        break;
      case "tries": {
        const tries = number(option, 1_000_000);
        // 0 is without limit, crypttab(5) of both.
        if (tries === 0) delete settings.tries;
        else assign(settings, "tries", tries);
        break;
      }
      case "keyfile-offset":
        assign(settings, "keyFileOffset", number(option, Number.MAX_SAFE_INTEGER));
        break;
      case "keyfile-size":
        assign(settings, "keyFileSize", number(option, Number.MAX_SAFE_INTEGER));
        break;
      case "x-systemd.device-timeout":
        assign(settings, "deviceTimeout", readTimeout(option, problems));
        break;
      case "_netdev":
        settings.needsNetwork = true;
        break;
      case "x-initrd.attach":
      case "initramfs":
        settings.isWantedInInitrd = true;
        break;
      case "nofail":
      case "fail":
        settings.mayFail = option.name === "nofail";
        break;
      case "noauto":
      case "auto":
        isOnDemand = option.name === "noauto";
        break;
      case "headless":
        isHeadless = option.value === undefined || /^(?:1|yes|y|true|t|on)$/i.test(option.value);
        break;
    }
  }
  if (openOptions.size > 0) settings.openOptions = [...openOptions];
  return { settings, isOnDemand, isHeadless, problems };
}

function assign<K extends keyof LuksSettings>(
  settings: Mutable<LuksSettings>,
  key: K,
  value: LuksSettings[K] | undefined,
): void {
  if (value !== undefined) Object.assign(settings, { [key]: value });
}

/** systemd.time(7) as far as it occurs here: a bare number is seconds, 0 is for ever, which latchkey never waits. */
function readTimeout({ name, value = "" }: CrypttabOption, problems: string[]): number | undefined {
  if (value === "0" || value === "infinity") return undefined;
  const spelled = /^\d+$/.test(value)
    ? `${value}s`
    : value.replace(/ +/g, "").replace(/min|sec/g, (unit) => unit.charAt(0));
  const parsed = parseDuration(spelled);
  if ("value" in parsed) return parsed.value;
  problems.push(`${name}=: ${parsed.problem}`);
  return undefined;
}
