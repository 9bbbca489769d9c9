/** A file of ours that lives inside the binary and is put onto the system by `latchkey install`. */
export interface CarriedFile {
  /** Where it goes on the system. */
  readonly path: string;
  readonly mode: number;
  readonly text: string;
  /** Where the finished image must have it, letter for letter; empty for files that only the build reads. */
  readonly inImage: readonly string[];
}

/** Each carried file says this in its first lines, so that uninstall also knows the files of another version. */
export const MARKER = 'Managed by "latchkey install';

/** Ours, of this version or another. A file of somebody else is neither overwritten nor removed. */
export function isManaged(text: string): boolean {
  return text.split("\n", 3).join("\n").includes(MARKER);
}
