import { z } from "zod";
import type { SourceKind, SourcePlan } from "./plan.ts";
import { duration } from "./toml-values.ts";

/**
 * How the configuration of one source is read. A source that joins adds its variant to SourcePlan and one entry to
 * `sourcesOfThisVersion`; nothing else here has to know it.
 */
export interface SourceEntry {
  readonly kind: SourceKind;
  /**
   * From the table `volumes.NAME.KIND`, undefined where there is none, to what the source needs: one plan, or several (two
   * sticks). Each schema names its own errors in words; keys it does not know are errors too.
   */
  readonly settings: z.ZodType<readonly SourcePlan[]>;
}

const prompt: SourceEntry = {
  kind: "prompt",
  settings: z
    .undefined({ error: "prompt has no settings" })
    .transform((): readonly SourcePlan[] => [{ kind: "prompt" }]),
};

/** Long enough for a TPM with RSA keys and for a switch port to come up after a power cut. */
export const clevisTimeout = 15_000;

const clevis: SourceEntry = {
  kind: "clevis",
  settings: z
    .strictObject(
      {
        token: z
          .string({ error: "expected the path of a token in quotes" })
          .startsWith("/", { error: "expected an absolute path" })
          .optional(),
        ca: z
          .string({ error: "expected the path of a PEM file in quotes" })
          .startsWith("/", { error: "expected an absolute path" })
          .optional(),
        timeout: duration.optional(),
      },
      {
        error: (issue) =>
          issue.code === "unrecognized_keys"
            ? `unknown key ${issue.keys?.join(", ")}`
            : "expected { token = …, timeout = …, ca = … }",
      },
    )
    .optional()
    .transform(({ token, timeout, ca } = {}): readonly SourcePlan[] => [
      {
        kind: "clevis",
        timeout: timeout ?? clevisTimeout,
        ...(token === undefined ? {} : { token }),
        ...(ca === undefined ? {} : { authority: ca }),
      },
    ]),
};

export const sourcesOfThisVersion: readonly SourceEntry[] = [clevis, prompt];

/** Every source that latchkey is to have (design): a name that is here but not above is no spelling mistake. */
export const allSourceKinds: readonly SourceKind[] = ["clevis", "usb", "keyfile", "prompt", "remote", "vault"];
