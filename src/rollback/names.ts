import { LatchkeyError } from "../system/errors.ts";
import { leftOverName, type RootNames } from "./plan.ts";

/** NAME_MAX, less what a temporary name adds. */
const MOST_NAME_BYTES = 240;
const MOST_PATH_BYTES = 1024;

/**
 * Paths inside the filesystem as somebody wrote them, without leading, trailing and doubled slashes.
 * @throws LatchkeyError usage/invalid when one leads out of the filesystem, or two get into each other's way
 */
export function checkedNames(written: RootNames): RootNames {
  const names: RootNames = {
    root: checkedPath("--root", written.root),
    blank: checkedPath("--blank", written.blank),
    archive: checkedPath("--archive", written.archive),
  };
  const { root, blank, archive } = names;
  if (new Set([root, blank, archive, leftOverName(root)]).size < 4) {
    throw invalid("root, blank and archive are three different things");
  }
  for (const inner of [blank, archive]) {
    if (inner.startsWith(`${root}/`)) throw invalid(`${inner} lies inside the root and would be moved away with it`);
  }
  for (const inner of [root, blank]) {
    if (inner.startsWith(`${archive}/`)) throw invalid(`${inner} lies in the archive, where old roots are deleted`);
  }
  return names;
}

function checkedPath(option: string, text: string): string {
  const parts = text.split("/").filter((part) => part !== "" && part !== ".");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
  if (parts.length === 0 || parts.includes("..") || /[\u0000-\u001f\u007f]/.test(text)) {
    throw invalid(`${option} wants a path inside the filesystem, got ${JSON.stringify(text)}`);
  }
  const path = parts.join("/");
  if (Buffer.byteLength(path) > MOST_PATH_BYTES || parts.some((part) => Buffer.byteLength(part) > MOST_NAME_BYTES)) {
    throw invalid(`${option} is too long`);
  }
  return path;
}

function invalid(text: string): LatchkeyError {
  return new LatchkeyError("usage/invalid", text);
}
