import { readFileSync } from "node:fs";
import { pcrWords } from "../tpm2/pcr-selection.ts";
import type { Tpm2Wish } from "./wish.ts";

/** The PCR that `policy.seal_pcr_after_unlock` is meant for: zeros when the machine starts, and free for such use. */
export const LATCH_PCR = 15;
/** systemd-stub and systemd-pcrphase extend it several times in every start. */
const PHASE_PCR = 11;
/** Debug and application: whoever runs can set them back. */
const RESETTABLE_PCRS = [16, 23] as const;

/** What the machine and its configuration say about the PCRs somebody wants. */
export interface PcrSurroundings {
  /** Undefined where there is no saying: no UEFI. */
  readonly secureBoot: boolean | undefined;
  /** `policy.seal_pcr_after_unlock`. */
  readonly latch: number | undefined;
}

/** What a person should know of the PCRs before a disk hangs on them, one line each. */
export function pcrAdvice(
  { pcrs, isDefault, policyDigest }: Tpm2Wish,
  surroundings: PcrSurroundings,
): readonly string[] {
  const has = (pcr: number): boolean => pcrs.includes(pcr);
  const among = (...some: readonly number[]): readonly number[] => some.filter(has);
  const lines: string[] = [];
  if (pcrs.length === 0) {
    lines.push("no PCRs: any system that starts on this machine opens the token, a stranger's USB stick included");
  }
  if (isDefault) {
    lines.push(
      "PCR 7 unless --pcrs says otherwise: it holds the state and the keys of Secure Boot, so it stays through updates of kernel and initrd, and differs when Secure Boot is turned off or its keys change",
    );
  }
  if (has(7) && surroundings.secureBoot === false) {
    lines.push("Secure Boot is off, and while it is off PCR 7 is the same for every system that starts here");
  }
  if (has(1)) {
    lines.push(
      "PCR 1 holds the firmware's settings and boot order: changing them, sometimes only plugging something in, shuts the token until it is enrolled again",
    );
  }
  const firmware = among(0, 2, 3);
  if (firmware.length > 0) lines.push(`${pcrWords(firmware)}: an update of the firmware shuts the token`);
  const loaders = among(4, 5, 8, 9, 10, 12, 13, 14);
  if (loaders.length > 0) {
    lines.push(
      `${pcrWords(loaders)}: an update of boot loader, kernel, initrd or kernel command line may shut the token: enroll again with each`,
    );
  }
  if (has(PHASE_PCR) && !policyDigest) {
    lines.push(
      `PCR ${PHASE_PCR} moves on within each start, so what it holds now is not what it holds when the disk is opened: give --policy-from-digest`,
    );
  }
  if (has(LATCH_PCR)) lines.push(...latchAdvice(surroundings.latch, policyDigest !== undefined));
  const resettable = among(...RESETTABLE_PCRS);
  if (resettable.length > 0) lines.push(`${pcrWords(resettable)}: any program can set this back, it proves nothing`);
  return lines;
}

function latchAdvice(latch: number | undefined, isGiven: boolean): readonly string[] {
  const sealed = isGiven
    ? `PCR ${LATCH_PCR}: once latchkey has extended it, nothing later in the same start opens the token`
    : `PCR ${LATCH_PCR} is taken as it is when the machine starts, zeros: once latchkey has extended it, nothing later in the same start opens the token`;
  if (latch === LATCH_PCR) return [sealed];
  return [
    sealed,
    `nothing extends PCR ${LATCH_PCR} yet: set seal_pcr_after_unlock = ${LATCH_PCR} under [policy] in /etc/latchkey/latchkey.toml`,
  ];
}

/** Four octets of attributes, then the value (efivarfs of the kernel). The GUID is EFI_GLOBAL_VARIABLE of the UEFI specification. */
const SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

export function secureBootState(file: string = SECURE_BOOT): boolean | undefined {
  try {
    return readFileSync(file)[4] === 1;
  } catch {
    return undefined;
  }
}
