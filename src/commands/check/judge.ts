import { crypttabAdvice } from "../../config/crypttab-advice.ts";
import { optionsDisobeyed } from "../../config/crypttab-options.ts";
import type { VolumePlan } from "../../config/plan.ts";
import { printOrigin, problemLine } from "../../config/problems.ts";
import type { CheckFacts, RootFacts } from "./facts.ts";
import type { Finding } from "./findings.ts";
import { judgeImages } from "./judge-images.ts";
import { judgeRemote } from "./judge-remote.ts";
import { judgeVolume } from "./judge-volume.ts";

/** What the facts mean for the next boot. Asks nobody. */
export function checkPlan(facts: CheckFacts): readonly Finding[] {
  return [
    ...judgeConfiguration(facts),
    ...judgeCrypttab(facts),
    ...judgeRoot(facts),
    ...judgeVolumes(facts),
    ...judgeImages(facts.images, facts),
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

function judgeCrypttab({ crypttab, leftToSystem, missingKeyscripts, readers }: CheckFacts): readonly Finding[] {
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
  const missing = missingKeyscripts.map(
    (path): Finding => ({
      about,
      severity: "problem",
      text: `${file}: the keyscript ${path} is not there, or cannot be run`,
      hint: "without it nothing opens that volume, and nobody is asked for its passphrase",
    }),
  );
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
    entries.length > 0 && advice.length + missing.length === 0
      ? [{ about, severity: "ok", text: `${file}: whoever reads it obeys all of its options` }]
      : [];
  return [...missing, ...advice, ...fine, ...left];
}

/** Does anything name the LUKS volumes that the root filesystem lies in? */
function judgeRoot({ root, volumes, leftToSystem, readers }: CheckFacts): readonly Finding[] {
  const isNamed = ({ name, uuid }: RootFacts["mappings"][number]): boolean =>
    leftToSystem.some((left) => left.name === name) ||
    volumes.some(
      ({ volume, found }) =>
        volume.name === name || ("value" in found && found.value.uuid === uuid) || isOf(volume, uuid),
    );
  return (root?.mappings ?? [])
    .filter((mapping) => !isNamed(mapping))
    .map(({ name, uuid }) => ({
      about: "crypttab",
      // systemd finds a root partition by its type, systemd-gpt-auto-generator(8); Debian's scripts find nothing by themselves.
      severity: readers.readers.includes("debian") ? "problem" : "warning",
      text: `/ lies in the LUKS volume ${name} (UUID ${uuid}), which is named neither in crypttab nor in latchkey.toml nor on the kernel command line`,
      hint: `a line of /etc/crypttab: ${name} UUID=${uuid} none luks`,
    }));
}

function isOf({ devices, luks }: VolumePlan, uuid: string): boolean {
  return luks?.uuid === uuid || devices.some((device) => device.by === "tag" && device.value.toLowerCase() === uuid);
}

function judgeVolumes({ volumes }: CheckFacts): readonly Finding[] {
  if (volumes.length > 0) return volumes.flatMap(judgeVolume);
  const text = "no volumes: nothing is configured, crypttab names none, and root= is no bcachefs";
  return [{ about: "volume", severity: "warning", text }];
}
