import { parseCrypttab } from "../config/crypttab.ts";
import type { Plan } from "../config/plan.ts";
import { type ReadText, readTextFile } from "../config/read-text.ts";
import { isOwnKeyscript } from "../config/system-luks.ts";
import { headerFilesForImage } from "./header-tokens.ts";

/**
 * Files that an initrd opens volumes with and that are no keys, wherever the configuration says that they lie: Clevis tokens,
 * authorities of their servers, detached LUKS headers. Tokens of volumes that no boot opens by itself, too: a keyscript may be
 * called for them.
 */
export function filesForImage(plan: Plan, read: ReadText = readTextFile): readonly string[] {
  const named = plan.volumes.flatMap(({ sources }) =>
    sources.flatMap((source) => (source.kind === "clevis" ? [source.token ?? [], source.authority ?? []].flat() : [])),
  );
  return [...new Set([...named, ...keyscriptTokens(read), ...headerFilesForImage(plan)])];
}

const CRYPTTAB = "/etc/crypttab";

/** Tokens in the third field of crypttab, where our keyscript is named: Debian's hooks leave that file to the keyscript. */
export function keyscriptTokens(read: ReadText = readTextFile): readonly string[] {
  return parseCrypttab(textOf(CRYPTTAB, read), CRYPTTAB).entries.flatMap(({ keyFile, options }) => {
    const isOurs = options.some(({ name, value }) => name === "keyscript" && isOwnKeyscript(value ?? ""));
    return isOurs && keyFile?.startsWith("/") && keyFile.endsWith(".jwe") ? [keyFile] : [];
  });
}

/** What cannot be read is told of when the plan is made. */
function textOf(path: string, read: ReadText): string {
  try {
    return read(path) ?? "";
  } catch {
    return "";
  }
}
