import { type Parsed, quoted } from "./parsed.ts";

/** Short enough for a device-mapper name (127 bytes) and for NAME.key under /run/cryptsetup-keys.d. */
const maxNameLength = 64;

/** A name that is safe as a file name, a unit instance, a mapping and an argument: so no slash, space or leading dash. */
export function parseVolumeName(text: string): Parsed<string> {
  if (text.length > maxNameLength) return { problem: `a name has at most ${maxNameLength} characters` };
  if (!/^[A-Za-z0-9._][A-Za-z0-9._-]*$/.test(text) || text === "." || text === "..") {
    return { problem: `a name is letters, digits, ".", "_" and "-" without a leading "-", got ${quoted(text)}` };
  }
  return { value: text };
}

/** A name for what latchkey found by itself: `/sysroot` and `/` are `root`, `/var/lib` is `var-lib`. */
export function nameFromMountPoint(mountPoint: string): string {
  const inner = mountPoint.replace(/^\/sysroot(?=\/|$)/, "");
  const name = inner
    .replace(/[^A-Za-z0-9._]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, maxNameLength - 4);
  return "value" in parseVolumeName(name) ? name : "root";
}

/** The name itself, or with the first number that makes it new: `data`, `data-2`. */
export function uniqueName(name: string, isTaken: (name: string) => boolean): string {
  if (!isTaken(name)) return name;
  let number = 2;
  while (isTaken(`${name}-${number}`)) number += 1;
  return `${name}-${number}`;
}
