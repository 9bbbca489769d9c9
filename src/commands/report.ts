import { readFileSync, writeFileSync } from "node:fs";
import type { Command } from "commander";
import { exitStatus, LatchkeyError } from "../system/errors.ts";
import { RUN_DIRECTORY } from "../system/run-directory.ts";
import { parseReport } from "../unlock/report-file.ts";
import { reportSvg } from "../unlock/report-svg.ts";
import { reportText } from "../unlock/report-text.ts";
import { acts, print, printJson } from "./run.ts";

interface Options {
  readonly json?: true;
  readonly file: string;
  readonly svg?: string;
}

export function registerReport(program: Command): void {
  const command = program
    .command("report")
    .summary("what happened at this boot")
    .description(
      "Shows what latchkey did at this boot: each volume, each attempt with its verdict and reason, and when.",
    )
    .option("--json", "print the report as JSON (docs/report.md describes it)")
    .option("--svg <file>", "draw the report as a timeline into this file")
    .option("--file <path>", "read this report instead of the one of this boot", `${RUN_DIRECTORY}/report.json`)
    .addHelpText("after", "\nExample:\n  sudo latchkey report");
  acts(command, (options: Options) => {
    const report = parseReport(readReport(options.file), options.file);
    if (options.svg !== undefined) writeDrawing(options.svg, reportSvg(report));
    else if (options.json) printJson(report);
    else print(reportText(report));
    return exitStatus.done;
  });
}

function writeDrawing(file: string, drawing: string): void {
  try {
    writeFileSync(file, drawing);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const reason = code === "ENOENT" ? "no such folder" : code === "EACCES" ? "permission denied" : code;
    throw new LatchkeyError("system/output-failed", `cannot write ${file}: ${reason}`, { cause });
  }
}

function readReport(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === "ENOENT" && file !== `${RUN_DIRECTORY}/report.json`) {
      throw new LatchkeyError("report/missing", `there is no file ${file}`, { cause });
    }
    if (code === "ENOENT") {
      throw new LatchkeyError(
        "report/missing",
        `no report at ${file}: latchkey did not run in the initrd of this boot`,
        {
          hint: "is it in the image, and not switched off by rd.latchkey=0? `latchkey check` looks",
        },
      );
    }
    throw new LatchkeyError(
      "report/missing",
      `cannot read ${file}: ${code === "EACCES" ? "permission denied" : code}`,
      {
        cause,
        ...(code === "EACCES" ? { hint: "the report is for root: use sudo" } : {}),
      },
    );
  }
}
