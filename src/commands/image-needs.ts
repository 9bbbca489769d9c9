import type { Command } from "commander";
import { partForBoot } from "../config/boot-part.ts";
import { configurationFolder, listFolder, loadPlan, usualToken } from "../config/load.ts";
import type { Plan } from "../config/plan.ts";
import { type FoundToken, readTokenFile } from "../sources/clevis/token-file.ts";
import { devicesBelow } from "../system/below-mount.ts";
import { asLatchkeyError, exitStatus } from "../system/errors.ts";
import { assembleProviders } from "./assemble.ts";
import { tokensForInitrd } from "./header-tokens.ts";
import { filesForImage, keyscriptTokens } from "./image-files.ts";
import { tokenFacts } from "./inspect-token.ts";
import { type KeyFileNeed, keyFileNeeds, keyFilesForImage } from "./key-file-needs.ts";
import { acts, print, printWarning } from "./run.ts";

/** What an image must bring beyond the program: `luks`, that is dm-crypt and its ciphers; `tpm` drivers, `network`, `usb` storage, filesystems of sticks. */
type ImageNeed = "luks" | "tpm" | "network" | "remote" | KeyFileNeed;

/** For the hooks that build images, which are shell and cannot read tokens. Not part of the help. */
export function registerImageNeeds(program: Command): void {
  const command = program
    .command("image-needs", { hidden: true })
    .summary("what the configured tokens need in an initrd")
    .description(
      "Prints a word for each thing that the configured sources need in an initrd: luks, tpm, network, remote, usb, vfat, exfat, ext4, iso9660.",
    )
    .option("--key-files", "print instead the key files that are wanted in the image, a line each")
    .option(
      "--files",
      "print instead the tokens, certificates and LUKS headers that are wanted in the image, a line each",
    )
    .option("--config <file>", "configuration file");
  acts(command, async (options: { readonly config?: string; readonly keyFiles?: true; readonly files?: true }) => {
    const plan = loadPlan({ mode: "boot", configFile: options.config });
    if (options.keyFiles || options.files) {
      for (const file of options.keyFiles ? keyFilesForImage(plan) : filesForImage(plan)) print(file);
      return exitStatus.done;
    }
    const needs = await imageNeeds(plan);
    if (needs.size > 0) print([...needs].sort().join(" "));
    return exitStatus.done;
  });
}

/**
 * Every token that lies at a usual place counts, with or without a volume that wants it: a chroot or an installer that builds
 * the image has another kernel command line than the machine that boots it, and so another root=.
 */
export async function imageNeeds(
  plan: Plan,
  warn: (text: string) => void = printWarning,
): Promise<ReadonlySet<ImageNeed>> {
  const named = plan.volumes.flatMap(({ name, sources }) =>
    sources.flatMap((source) =>
      source.kind === "clevis" && source.inHeader === undefined ? [source.token ?? usualToken(name)] : [],
    ),
  );
  const lying = listFolder(configurationFolder)
    .filter((name) => name.endsWith(".jwe"))
    .map((name) => `${configurationFolder}/${name}`);
  const needs = new Set<ImageNeed>(keyFileNeeds(plan));
  // An SSH server, and with it a network that is brought up when somebody is asked.
  if (plan.remote) needs.add("remote");
  if (partForBoot(plan).volumes.some(({ kind }) => kind === "luks")) needs.add("luks");
  const inHeaders = await tokensForInitrd(plan, assembleProviders(), devicesBelow("/"));
  const tokens: readonly (() => FoundToken)[] = [
    ...[...new Set([...named, ...keyscriptTokens(), ...lying])].map((path) => () => readTokenFile(path)),
    ...inHeaders.map((token) => () => token),
  ];
  for (const read of tokens) {
    try {
      const token = tokenFacts(read().text);
      if (token.needs.tpm !== "none") needs.add("tpm");
      if (token.needs.network !== "none") needs.add("network");
    } catch (thrown) {
      // The image is made all the same: its other sources and the question work.
      warn(asLatchkeyError(thrown).message);
    }
  }
  return needs;
}
