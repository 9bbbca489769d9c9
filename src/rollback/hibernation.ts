import { parseDeviceReference } from "../config/device-reference.ts";
import { type KernelParameter, tokenizeKernelCommandLine } from "../config/kernel-parameters.ts";
import { type BlockDevices, referenceText } from "../system/block-devices.ts";
import { asLatchkeyError } from "../system/errors.ts";

/** systemd writes the place of the image here when it hibernates, and takes it away when it resumes (sd-id128 of SYSTEMD_VENDOR). */
export const HIBERNATE_LOCATION = "/sys/firmware/efi/efivars/HibernateLocation-8cf2644b-4b0b-428f-9387-6d876050dc67";

/** What replaces SWAPSPACE2 at the end of the swap's first page (kernel/power/swap.c; the others: libblkid's swap.c). */
const SIGNATURES: ReadonlySet<string> = new Set(["S1SUSPEND", "S2SUSPEND", "ULSUSPEND", "LINHIB0001"]);
const SIGNATURE_BYTES = 10;
/** Bytes: of x86-64, and those that arm64 may have. */
const PAGE_SIZES = [4096, 16384, 65536] as const;

export interface HibernationFacts {
  readonly kernelCommandLine: string;
  /** HIBERNATE_LOCATION is there. */
  readonly hasLocation: boolean;
  readonly devices: Pick<BlockDevices, "resolve" | "open">;
}

/**
 * Why this boot may be a resume from hibernation: then the filesystem is mounted by the system that sleeps, and whoever changes it
 * destroys it. Unsure means yes.
 * @returns undefined when no image can be waiting
 */
export async function whyResuming({
  kernelCommandLine,
  hasLocation,
  devices,
}: HibernationFacts): Promise<string | undefined> {
  const parameters = tokenizeKernelCommandLine(kernelCommandLine);
  if (parameters.some(isRefusal)) return undefined;
  if (hasLocation) return "the firmware has the place of a hibernation image (HibernateLocation)";
  const text = lastValue(parameters, "resume");
  if (text === undefined || text === "") return undefined;
  const parsed = parseDeviceReference(text.replace(/^swap:/, ""));
  if ("problem" in parsed) return `resume= names something that cannot be looked at (${parsed.problem})`;
  try {
    const path = await devices.resolve(parsed.value);
    if (path === undefined) return `${referenceText(parsed.value)} of resume= is not there, so it cannot be looked at`;
    const offset = Number(lastValue(parameters, "resume_offset") ?? "0");
    if (!Number.isSafeInteger(offset * (PAGE_SIZES.at(-1) ?? 0)) || offset < 0) return "resume_offset= is no number";
    return (await holdsImage(devices, path, offset)) ? `${path} holds a hibernation image` : undefined;
  } catch (thrown) {
    return `resume= cannot be looked at: ${asLatchkeyError(thrown).message}`;
  }
}

/** `noresume`, and what the kernel and systemd-hibernate-resume-generator(8) take for the same. */
function isRefusal({ name, value }: KernelParameter): boolean {
  return name === "noresume" || (name === "hibernate" && (value === "noresume" || value === "no"));
}

function lastValue(parameters: readonly KernelParameter[], name: string): string | undefined {
  return parameters.findLast((parameter) => parameter.name === name)?.value;
}

async function holdsImage(devices: HibernationFacts["devices"], path: string, offset: number): Promise<boolean> {
  await using reader = await devices.open(path);
  for (const page of PAGE_SIZES) {
    const bytes = await reader.readAt((offset + 1) * page - SIGNATURE_BYTES, SIGNATURE_BYTES);
    const text = new TextDecoder("latin1").decode(bytes).replace(/\0+$/, "");
    if (SIGNATURES.has(text)) return true;
  }
  return false;
}
