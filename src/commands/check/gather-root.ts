import { readFileSync } from "node:fs";
import type { RootFacts } from "./facts.ts";

/** What cryptsetup names its mappings with: CRYPT-LUKS2-UUID-NAME, the UUID without hyphens. */
const LUKS_MAPPING = /^CRYPT-LUKS[12]-([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})-(.+)$/;

/**
 * What the root filesystem that runs now lies in, as far as the kernel tells.
 * @param below the devices below it, by their names in /sys/class/block
 */
export function gatherRoot(below: ReadonlySet<string> | undefined, sys = "/sys"): RootFacts | undefined {
  if (below === undefined) return undefined;
  const mappings = [...below].flatMap((name) => {
    const [, a, b, c, d, e, mapping] = LUKS_MAPPING.exec(dmUuid(`${sys}/class/block/${name}`)) ?? [];
    return mapping === undefined ? [] : [{ name: mapping, uuid: [a, b, c, d, e].join("-") }];
  });
  return { devices: below, mappings };
}

/** Empty for what is no device mapper's device. */
function dmUuid(folder: string): string {
  try {
    return readFileSync(`${folder}/dm/uuid`, "utf8").trim();
  } catch {
    return "";
  }
}
