import { crypttabAdvice } from "../../config/crypttab-advice.ts";
import { optionsDisobeyed } from "../../config/crypttab-options.ts";
import { printOrigin, problemLine } from "../../config/problems.ts";
import type { CheckFacts } from "./facts.ts";
import type { Finding } from "./findings.ts";
import { judgeImages } from "./judge-images.ts";
import { judgeRemote } from "./judge-remote.ts";
import { judgeVolume } from "./judge-volume.ts";

/** What the facts mean for the next boot. Asks nobody. */
export function checkPlan(facts: CheckFacts): readonly Finding[] {
  return [
    ...judgeConfiguration(facts),
    ...judgeCrypttab(facts),
    ...judgeVolumes(facts),
    ...judgeImages(facts.images),
    ...judgeRemote(facts.remote),
  ];
}

function judgeConfiguration(facts: CheckFacts): readonly Finding[] {
  const { configuration } = facts;
  const about = "configuration" as const;
  const problems = configuration.problems.filter(
    // Said of the source itself, and of crypttab's lines by those who will read them.
    (problem) => problem.code !== "config/key-in-image" && !isAboutEntry(facts, problemLine(problem)),
  );
  return [
    ...problems.map(
      (problem): Finding => ({
        about,
        severity: problem.severity === "error" ? "problem" : "warning",
        text: problemLine(problem),
      }),
    ),
    ...(problems.length > 0
      ? []
      : [
          {
            about,
            severity: "ok" as const,
            text: configuration.isThere
              ? `${configuration.file} has no mistakes`
              : `there is no ${configuration.file}: what the system's own files name counts`,
          },
        ]),
    ...(configuration.isEnabled
      ? []
      : [
          {
            about,
            severity: "warning" as const,
            text: "the kernel command line has rd.latchkey=0: with it latchkey opens nothing at boot",
          },
        ]),
  ];
}

function isAboutEntry({ crypttab }: CheckFacts, line: string): boolean {
  if (crypttab === undefined || !("value" in crypttab)) return false;
  const { file, entries } = crypttab.value;
  return entries.some((entry) => line.startsWith(`${printOrigin({ file, line: entry.line })}: ${entry.name}: `));
}

function judgeCrypttab({ crypttab, leftToSystem, readers }: CheckFacts): readonly Finding[] {
  const about = "crypttab" as const;
  const left = leftToSystem.map(
    ({ name, reason, origin }): Finding => ({
      about: origin.file.endsWith("/crypttab") ? about : "configuration",
      severity: "ok",
      text: `${printOrigin(origin)}: ${name} is left to the system: ${reason}`,
    }),
  );
  if (crypttab === undefined) return left;
  if ("error" in crypttab) return [...left, { about, severity: "warning", text: crypttab.error.message }];
  const { file, entries } = crypttab.value;
  const advice = entries.flatMap((entry) => {
    const isServed = !leftToSystem.some(({ name }) => name === entry.name);
    const sentences = new Set([
      ...readers.readers.flatMap((reader) => crypttabAdvice(entry, reader)),
      ...(readers.latchkeyOpens && isServed ? optionsDisobeyed("latchkey", entry.options) : []),
    ]);
    return [...sentences].map(
      (sentence): Finding => ({
        about,
        severity: "warning",
        text: `${printOrigin({ file, line: entry.line })}: ${entry.name}: ${sentence}`,
      }),
    );
  });
  const fine: readonly Finding[] =
    entries.length > 0 && advice.length === 0
      ? [{ about, severity: "ok", text: `${file}: whoever reads it obeys all of its options` }]
      : [];
  return [...advice, ...fine, ...left];
}

function judgeVolumes({ volumes }: CheckFacts): readonly Finding[] {
  if (volumes.length > 0) return volumes.flatMap(judgeVolume);
  const text = "no volumes: nothing is configured, crypttab names none, and root= is no bcachefs";
  return [{ about: "volume", severity: "warning", text }];
}
