import { z } from "zod";
import { keyfile, usb, vault } from "./key-sources.ts";
import type { SourceKind, SourcePlan, VolumeKind } from "./plan.ts";
import type { Problem } from "./problems.ts";
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
  /** A list of so many tables will do, too, each read by itself: two sticks. */
  readonly mostTables?: number;
  /** What is to be said of settings that are understood. An error leaves them out. */
  readonly judge?: (plan: SourcePlan, kind: VolumeKind | undefined) => Remark | undefined;
}

export interface Remark {
  readonly severity: Problem["severity"];
  readonly code: Problem["code"];
  /** The key within the table of the source. */
  readonly key?: string;
  readonly text: string;
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

const remote: SourceEntry = {
  kind: "remote",
  settings: z
    .undefined({ error: "remote has no settings for one volume: they stand in the table [remote]" })
    .transform((): readonly SourcePlan[] => [{ kind: "remote" }]),
};

export const sourcesOfThisVersion: readonly SourceEntry[] = [clevis, usb, keyfile, vault, prompt, remote];

/** In the order in which messages name them. */
export const allSourceKinds: readonly SourceKind[] = ["clevis", "usb", "keyfile", "prompt", "remote", "vault"];
