import { readTextFile } from "../config/read-text.ts";
import {
  type Advertisement,
  fetchAdvertisement,
  parseAdvertisement,
  requireTrust,
} from "../sources/clevis/tang-advertisement.ts";
import type { ClevisTools } from "../sources/clevis/tools.ts";
import { LatchkeyError } from "../system/errors.ts";
import type { Person } from "./person.ts";
import type { TrustWish } from "./wish.ts";

export interface TrustMeans {
  readonly tools: Pick<ClevisTools, "http">;
  readonly person: Person;
  readonly signal: AbortSignal;
}

/**
 * The keys of a Tang server, believed for a reason: whoever could put in keys of his own could open the disk.
 * @throws LatchkeyError tang/untrusted and what fetching and parsing throw
 */
export async function trustedAdvertisement(url: string, trust: TrustWish, means: TrustMeans): Promise<Advertisement> {
  const { tools, person, signal } = means;
  const server = `tang server ${url}`;
  switch (trust.by) {
    case "file":
      return readAdvertisement(trust.path);
    case "thumbprint": {
      const advertisement = await fetchAdvertisement(url, tools.http, signal, trust.thumbprint);
      await requireTrust(advertisement, trust, server);
      return advertisement;
    }
    case "question": {
      const advertisement = await fetchAdvertisement(url, tools.http, signal);
      const confirm = (thumbprints: readonly string[]): Promise<boolean> =>
        askAbout(server, thumbprints, person, signal);
      await requireTrust(advertisement, { by: "confirmation", confirm }, server);
      return advertisement;
    }
  }
}

function readAdvertisement(path: string): Advertisement {
  const text = readTextFile(path);
  if (text === undefined) throw new LatchkeyError("tang/bad-advertisement", `${path}: no such file`);
  return parseAdvertisement(new TextEncoder().encode(text), path);
}

async function askAbout(
  server: string,
  thumbprints: readonly string[],
  person: Person,
  signal: AbortSignal,
): Promise<boolean> {
  const lines = [`The signing keys of ${server} have these thumbprints:`, ...thumbprints.map((each) => `  ${each}`)];
  try {
    return await person.confirm(lines, "Does tang-show-keys on the server itself print one of them?", signal);
  } catch (thrown) {
    if (!(thrown instanceof LatchkeyError) || thrown.code !== "prompt/no-console") throw thrown;
    throw new LatchkeyError("tang/untrusted", `${server}: there is no terminal to confirm its keys on`, {
      hint: `compare with tang-show-keys on the server, then give --thumbprint (for sss: URL#THUMBPRINT); it has ${thumbprints.join(", ")}`,
      cause: thrown,
    });
  }
}
