import type { VolumePlan } from "../../config/plan.ts";
import type { LatchkeyError } from "../../system/errors.ts";
import type { FoundFacts, Gathered, VolumeFacts } from "./facts.ts";
import type { Finding, Severity } from "./findings.ts";
import { isDenied } from "./gathered.ts";
import { judgeSource } from "./judge-source.ts";

/** A volume, and each of the ways to its key. */
export function judgeVolume({ volume, found, notes, sources }: VolumeFacts): readonly Finding[] {
  const of = volume.name;
  return [
    { about: "volume", of, ...judgeFound(volume, found) },
    ...judgeMemory(found).map((finding): Finding => ({ about: "volume", of, ...finding })),
    ...notes.map((text): Finding => ({ about: "volume", of, severity: "warning", text })),
    ...sources.flatMap((source) =>
      judgeSource(source).map((finding): Finding => ({ about: "source", of, ...finding })),
    ),
  ];
}

export type Verdict = Pick<Finding, "severity" | "text" | "hint">;

function judgeFound(volume: VolumePlan, found: Gathered<FoundFacts>): Verdict {
  if ("error" in found) return judgeAbsence(volume, found);
  const { state, description } = found.value;
  if (state === "closed") return { severity: "ok", text: `${description}, closed` };
  if (state === "open") return { severity: "ok", text: `${description}, open now` };
  const what = state === "unencrypted" ? "it is not encrypted" : "its key lies in clear on the disk";
  if (volume.requireEncrypted) {
    return {
      severity: "problem",
      text: `${description}: ${what}, and the boot refuses it`,
      hint: "was the disk replaced or formatted anew? `[policy] require_encrypted = false` allows it",
    };
  }
  return { severity: "ok", text: `${description}: ${what}, so that there is nothing to open` };
}

function judgeAbsence(volume: VolumePlan, { error }: { readonly error: LatchkeyError }): Verdict {
  const { message, hint, outcome } = error;
  const advice = hint === undefined ? {} : { hint };
  // A bare root= names what latchkey may or may not have to do with.
  if (volume.certainty === "if-bcachefs") {
    return { severity: "ok", text: `nothing for latchkey to open: ${message}` };
  }
  if (outcome === "unavailable" && volume.isOnDemand) {
    return { severity: "ok", text: `${message}; it is opened only when somebody asks for it` };
  }
  const isEndured = isDenied(error) || (outcome === "unavailable" && volume.luks?.mayFail === true);
  const severity: Severity = isEndured ? "warning" : "problem";
  return { severity, text: message, ...advice };
}

const MEBIBYTE = 1024 * 1024;

/** Argon2 takes up to 4 GiB, and an initrd shares the memory with what boots beside it. */
function judgeMemory(found: Gathered<FoundFacts>): readonly Verdict[] {
  if (!("value" in found)) return [];
  const { proofMemory = 0, memoryThere } = found.value;
  if (proofMemory <= memoryThere / 2) return [];
  const text = `one try of a passphrase takes ${size(proofMemory)}, and this machine has ${size(memoryThere)}`;
  const hint = "`cryptsetup luksConvertKey --pbkdf-memory` makes it smaller";
  return [{ severity: proofMemory > memoryThere ? "problem" : "warning", text, hint }];
}

function size(octets: number): string {
  return `${Math.round(octets / MEBIBYTE)} MiB`;
}
