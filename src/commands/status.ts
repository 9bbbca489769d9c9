import type { Command } from "commander";
import { loadPlan } from "../config/load.ts";
import { exitStatus } from "../system/errors.ts";
import { alignColumns } from "../system/text-table.ts";
import { reportedError } from "../unlock/report.ts";
import { type Looked, lookAt } from "./look.ts";
import { acts, print, printJson, printWarning } from "./run.ts";

interface Options {
  readonly config?: string;
  readonly json?: true;
}

export function registerStatus(program: Command): void {
  const command = program
    .command("status")
    .summary("the volumes as they are now")
    .description("Shows every volume latchkey knows of on this machine, and whether it is open now.")
    .option("--config <file>", "configuration file")
    .option("--json", "print the facts as JSON")
    .addHelpText("after", "\nExample:\n  sudo latchkey status");
  acts(command, async (options: Options) => {
    const plan = loadPlan({ mode: "boot", configFile: options.config });
    for (const warning of plan.warnings) printWarning(warning);
    const looked = await lookAt(plan);
    if (options.json) printJson({ volumes: looked.map(statusFacts), left_to_system: plan.leftToSystem });
    else if (looked.length === 0) print("no volumes: nothing is configured, and root= is no bcachefs");
    else print(alignColumns([["VOLUME", "KIND", "STATE", "SOURCES", "WHAT"], ...looked.map(statusRow)]).join("\n"));
    return exitStatus.done;
  });
}

function statusRow(looked: Looked): string[] {
  const { name, kind, sources } = looked.volume;
  const state = "found" in looked ? looked.found.state : absence(looked);
  const what = "found" in looked ? [looked.found.description, ...looked.notes].join("; ") : looked.error.message;
  return [name, kind, state, sources.map((source) => source.kind).join(","), what];
}

function absence({ volume, error }: Extract<Looked, { error: unknown }>): string {
  if (volume.certainty !== "stated") return "-";
  return error.outcome === "unavailable" ? "not there" : "unusable";
}

function statusFacts(looked: Looked) {
  const { name, kind, sources } = looked.volume;
  const facts = { name, kind, sources: sources.map((source) => source.kind), notes: looked.notes };
  if ("error" in looked) return { ...facts, state: null, error: reportedError(looked.error) };
  const { state, uuid, devices, description } = looked.found;
  return { ...facts, state, uuid, devices, description, error: null };
}
