import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** An archive of Debian itself (or a dated snapshot of it): not debian-security, not another project's packages. */
const DEBIAN_ARCHIVE = /^https?:\/\/\S+\/debian\/?(?:\d{8}T\d{6}Z\/?)?$/;

/** The archive addresses in one apt source file, in both formats of sources.list(5). */
function archiveAddresses(text: string): readonly string[] {
  const addresses: string[] = [];
  for (const line of text.split("\n")) {
    const oneLine = /^\s*deb\s+(?:\[[^\]]*\]\s*)?(\S+)/.exec(line);
    const field = /^URIs:\s*(.+)$/i.exec(line);
    if (oneLine?.[1]) addresses.push(oneLine[1]);
    if (field?.[1]) addresses.push(...field[1].trim().split(/\s+/));
  }
  return addresses;
}

/** The mirror that these apt source files use for Debian, if any. */
export function mirrorFrom(sources: readonly string[]): string | undefined {
  return sources
    .flatMap(archiveAddresses)
    .find((address) => DEBIAN_ARCHIVE.test(address))
    ?.replace(/\/$/, "");
}

/** The mirror this machine is set up to use: guests come from where its own packages come from. */
export function debianMirror(): string {
  const chosen = process.env["LATCHKEY_DEBIAN_MIRROR"];
  if (chosen) return chosen;
  const parts = "/etc/apt/sources.list.d";
  const files = [
    "/etc/apt/sources.list",
    ...(existsSync(parts)
      ? readdirSync(parts)
          .sort()
          .map((name) => join(parts, name))
      : []),
  ];
  const sources = files.filter((file) => /\.(list|sources)$/.test(file) && existsSync(file));
  const mirror = mirrorFrom(sources.map((file) => readFileSync(file, "utf8")));
  if (mirror !== undefined) return mirror;
  throw new Error("no mirror of Debian in the sources of apt: name one in LATCHKEY_DEBIAN_MIRROR");
}
