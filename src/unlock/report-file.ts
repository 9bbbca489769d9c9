import { z } from "zod";
import { LatchkeyError } from "../system/errors.ts";
import type { Report } from "./report.ts";

const errorSchema = z.strictObject({ code: z.string(), reason: z.string(), hint: z.string().optional() }).nullable();

/** The shape of report.json. The file is root's own, but `report` may be given any file. */
const reportSchema = z.strictObject({
  schema: z.literal(1),
  version: z.string(),
  build: z.string(),
  started_ms: z.number(),
  finished_ms: z.number().nullable(),
  outcome: z.string().nullable(),
  volumes: z.array(
    z.strictObject({
      name: z.string(),
      kind: z.string(),
      description: z.string().nullable(),
      uuid: z.string().nullable(),
      devices: z.array(z.string()),
      standing: z.string(),
      opened_by: z.string().nullable(),
      settled_ms: z.number().nullable(),
      error: errorSchema,
    }),
  ),
  attempts: z.array(
    z.strictObject({
      volume: z.string().nullable(),
      source: z.string(),
      source_kind: z.string(),
      verdict: z.string(),
      started_ms: z.number(),
      ended_ms: z.number(),
      error: errorSchema,
    }),
  ),
  events: z.array(
    z.strictObject({
      at_ms: z.number(),
      volume: z.string().nullable(),
      source: z.string().nullable(),
      text: z.string(),
    }),
  ),
  warnings: z.array(z.string()),
});

/** report.json's text. */
export function printReport(report: Report): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}

/** @throws LatchkeyError when the text is not a report of this schema */
export function parseReport(text: string, file: string): Report {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new LatchkeyError("report/invalid", `${file} is not JSON`, { cause });
  }
  const parsed = reportSchema.safeParse(value);
  if (parsed.success) return parsed.data as Report;
  const [issue] = parsed.error.issues;
  throw new LatchkeyError("report/invalid", `${file} is not a report: ${issue?.path.join(".")}: ${issue?.message}`);
}
