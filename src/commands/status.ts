import type { Command } from "commander";
import { loadPlan } from "../config/load.ts";
import { exitStatus } from "../system/errors.ts";
import { alignColumns } from "../system/text-table.ts";
import { reportedError } from "../unlock/report.ts";
import { type Looked, lookAt, stateOf } from "./look.ts";
import { acts, print, printJson, printWarning } from "./run.ts";
import { poolFacts, poolLines, poolStatus } from "./status-pools.ts";

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
    const pools = await poolStatus(plan, looked);
    const facts = { volumes: looked.map(statusFacts), pools: pools.map(poolFacts), left_to_system: plan.leftToSystem };
    if (options.json) printJson(facts);
    else if (looked.length === 0)
      print("no volumes: nothing is configured, crypttab names none, and root= is no bcachefs");
    else {
      const table = alignColumns([["VOLUME", "KIND", "STATE", "SOURCES", "WHAT"], ...looked.map(statusRow)]);
      print([...table, ...(pools.length > 0 ? ["", ...pools.flatMap(poolLines)] : [])].join("\n"));
    }
    return exitStatus.done;
  });
}

function statusRow(looked: Looked): string[] {
  const { name, kind, sources } = looked.volume;
  const what = "found" in looked ? [looked.found.description, ...looked.notes].join("; ") : looked.error.message;
  return [name, kind, stateOf(looked), sources.map((source) => source.kind).join(","), what];
}

function statusFacts(looked: Looked) {
  const { name, kind, sources } = looked.volume;
  const facts = { name, kind, sources: sources.map((source) => source.kind), notes: looked.notes };
  if ("error" in looked) return { ...facts, state: null, error: reportedError(looked.error) };
  const { state, uuid, devices, description } = looked.found;
  return { ...facts, state, uuid, devices, description, error: null };
}
