import type { Command } from "commander";
import { configurationFolder, listFolder, loadPlan, usualToken } from "../config/load.ts";
import type { Plan } from "../config/plan.ts";
import { readTokenFile } from "../sources/clevis/token-file.ts";
import { asLatchkeyError, exitStatus } from "../system/errors.ts";
import { tokenFacts } from "./inspect-token.ts";
import { acts, print, printWarning } from "./run.ts";

/** What an image must bring beyond the program: `tpm` drivers, `network`. */
type ImageNeed = "tpm" | "network";

/** For the hooks that build images, which are shell and cannot read tokens. Not part of the help. */
export function registerImageNeeds(program: Command): void {
  const command = program
    .command("image-needs", { hidden: true })
    .summary("what the configured tokens need in an initrd")
    .description("Prints a word for each thing that the configured sources need in an initrd: tpm, network.")
    .option("--config <file>", "configuration file");
  acts(command, (options: { readonly config?: string }) => {
    const needs = imageNeeds(loadPlan({ mode: "boot", configFile: options.config }));
    if (needs.size > 0) print([...needs].sort().join(" "));
    return exitStatus.done;
  });
}

/**
 * Every token that lies at a usual place counts, with or without a volume that wants it: a chroot or an installer that builds
 * the image has another kernel command line than the machine that boots it, and so another root=.
 */
function imageNeeds(plan: Plan): ReadonlySet<ImageNeed> {
  const named = plan.volumes.flatMap(({ name, sources }) =>
    sources.flatMap((source) => (source.kind === "clevis" ? [source.token ?? usualToken(name)] : [])),
  );
  const lying = listFolder(configurationFolder)
    .filter((name) => name.endsWith(".jwe"))
    .map((name) => `${configurationFolder}/${name}`);
  const needs = new Set<ImageNeed>();
  for (const path of new Set([...named, ...lying])) {
    try {
      const token = tokenFacts(readTokenFile(path).text);
      if (token.needs.tpm !== "none") needs.add("tpm");
      if (token.needs.network !== "none") needs.add("network");
    } catch (thrown) {
      // The image is made all the same: its other sources and the question work.
      printWarning(asLatchkeyError(thrown).message);
    }
  }
  return needs;
}
