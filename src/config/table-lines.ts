/** One line of a file of fields (fstab, crypttab), without its comments and blank lines. */
export interface FieldLine {
  readonly line: number;
  readonly fields: readonly string[];
}

/** More entries than any machine has; the rest of the file is not looked at. */
export const maxEntries = 4096;

/** Fields separated by blanks and tabs; `#` starts a comment only as the first thing on a line (fstab(5), crypttab(5)). */
export function fieldLines(text: string): readonly FieldLine[] {
  const lines: FieldLine[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    const trimmed = line.replace(/^[ \t]+|[ \t\r]+$/g, "");
    if (trimmed === "" || trimmed.startsWith("#")) continue;
    if (lines.length > maxEntries) break;
    lines.push({ line: index + 1, fields: trimmed.split(/[ \t]+/) });
  }
  return lines;
}
