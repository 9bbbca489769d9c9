import type { Command } from "commander";
import { LatchkeyError } from "../system/errors.ts";
import { hardenProcess } from "../system/hardening.ts";
import { checkStatus, findingFacts, findingLines } from "./check/findings.ts";
import { gatherFacts } from "./check/gather.ts";
import { checkPlan } from "./check/judge.ts";
import { abortOnSignals } from "./interrupt.ts";
import { acts, print, printJson } from "./run.ts";

interface Options {
  readonly config?: string;
  readonly json?: true;
  /** commander's form of --no-image. */
  readonly image: boolean;
}

export function registerCheck(program: Command): void {
  const command = program
    .command("check")
    .summary("will the next boot open everything?")
    .description(
      "Looks at all that the next boot needs: configuration, crypttab, volumes, tokens against today's PCRs and servers, sticks, initrds, and the keys of the initrd's SSH server. Asks for no secret, opens nothing, changes nothing.",
    )
    .option("--config <file>", "configuration file")
    .option("--no-image", "leave out the initrds")
    .option("--json", "print the findings as JSON")
    .addHelpText("after", "\nExample:\n  sudo latchkey check");
  acts(command, async (options: Options) => {
    // A stick that is plugged in is read, to compare its key's checksum.
    hardenProcess();
    const signal = abortOnSignals();
    const facts = await gatherFacts({ configFile: options.config, withImages: options.image }, signal);
    if (signal.aborted) throw new LatchkeyError("unlock/interrupted", "interrupted before everything was looked at");
    const findings = checkPlan(facts);
    if (options.json) printJson(findings.map(findingFacts));
    else print(findingLines(findings).join("\n"));
    return checkStatus(findings);
  });
}
