import { readFileSync } from "node:fs";
import { z } from "zod";
import { LatchkeyError } from "./errors.ts";

/** In the image: what `latchkey image-remote` wrote down about the SSH server that it put there. */
export const IMAGE_FACTS = "/usr/lib/latchkey/remote.json";

/** In the image: brings the network and the SSH server up, and returns at once. */
export const OPEN_DOOR = "/usr/lib/latchkey/remote-start";

/** What sessions have to know of the SSH server in this image. */
export interface ImageFacts {
  readonly server: "openssh" | "dropbear";
  readonly port: number;
  /** `SHA256:…` of its host keys, as ssh shows them. */
  readonly fingerprints: readonly string[];
}

const schema = z.object({
  server: z.enum(["openssh", "dropbear"]),
  port: z.int().min(1).max(65535),
  fingerprints: z.array(z.string().regex(/^SHA256:[A-Za-z0-9+/]{43}$/)).max(8),
});

export function printImageFacts(facts: ImageFacts): string {
  return `${JSON.stringify(facts)}\n`;
}

/** @returns undefined for what is no such text */
export function parseImageFacts(text: string | undefined): ImageFacts | undefined {
  try {
    return schema.parse(JSON.parse(text ?? ""));
  } catch {
    return undefined;
  }
}

/** @throws LatchkeyError remote/not-in-image */
export function readImageFacts(file = IMAGE_FACTS): ImageFacts {
  try {
    return schema.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch (cause) {
    throw new LatchkeyError("remote/not-in-image", "this image has no SSH server of latchkey's", {
      cause,
      hint: "run `latchkey install` after a change of the configuration: it builds the image anew",
    });
  }
}
