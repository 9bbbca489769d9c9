import { z } from "zod";
import { parseDeviceReference } from "./device-reference.ts";
import { maxKeySlots } from "./luks-options.ts";
import type { LuksSettings } from "./plan.ts";
import type { KeyPath } from "./toml-lines.ts";
import { type Document, readTable } from "./toml-table.ts";
import { yesOrNo } from "./toml-values.ts";

const SLOT_EXPECTED = `expected the number of a key slot, 0 to ${maxKeySlots - 1}`;

const luksShape = {
  header: z.string({ error: "expected the path of a header in quotes" }).superRefine((header, context) => {
    const parsed = parseDeviceReference(header);
    if ("problem" in parsed) context.addIssue({ code: "custom", message: parsed.problem });
  }),
  key_slot: z
    .int({ error: SLOT_EXPECTED })
    .min(0, { error: SLOT_EXPECTED })
    .max(maxKeySlots - 1, { error: SLOT_EXPECTED }),
  discard: yesOrNo,
  readonly: yesOrNo,
} as const;

/** The table `volumes.NAME.luks`: what crypttab would say of the mapping. */
export function readLuksTable(value: unknown, path: KeyPath, document: Document): LuksSettings {
  const { header, key_slot, discard, readonly } = readTable(value, luksShape, path, document);
  return {
    ...(header === undefined ? {} : { header }),
    ...(key_slot === undefined ? {} : { keySlot: key_slot }),
    ...(discard === undefined ? {} : { allowDiscards: discard }),
    ...(readonly === undefined ? {} : { readOnly: readonly }),
  };
}
