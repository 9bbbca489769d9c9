import { z } from "zod";
import { parseDuration } from "./duration.ts";

/** A duration in milliseconds. */
export const duration = z
  .string({ error: 'expected a duration in quotes, like "2s", "500ms" or "1m30s"' })
  .transform((text, context) => {
    const parsed = parseDuration(text);
    if ("value" in parsed) return parsed.value;
    context.addIssue({ code: "custom", message: parsed.problem });
    return z.NEVER;
  });
export const yesOrNo = z.boolean({ error: "expected true or false" });
