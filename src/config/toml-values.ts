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

const PCR_EXPECTED = "expected the number of a PCR, 0 to 15: later ones can be reset by the system that boots";

/** A PCR that only a restart resets (TCG PC Client Platform Firmware Profile, table of PCR attributes). */
export const pcrNumber = z
  .int({ error: PCR_EXPECTED })
  .min(0, { error: PCR_EXPECTED })
  .max(15, { error: PCR_EXPECTED });
