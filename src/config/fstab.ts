import { decodeOctalEscapes } from "./octal-escapes.ts";
import { holdsUnprintable } from "./parsed.ts";
import { type Problem, ProblemList } from "./problems.ts";
import { fieldLines, maxEntries } from "./table-lines.ts";

/** One mount of fstab(5), its escapes decoded. */
export interface FstabEntry {
  readonly device: string;
  readonly mountPoint: string;
  readonly type: string;
  readonly options: readonly string[];
  readonly line: number;
}

export interface Fstab {
  readonly file: string;
  readonly entries: readonly FstabEntry[];
  /** All of them warnings: the file is the system's, and others read it differently. */
  readonly problems: readonly Problem[];
}

/** Never throws. A line that is broken is named; what can be understood of it is still used, as mount(8) does. */
export function parseFstab(text: string, file: string): Fstab {
  const problems = new ProblemList();
  const entries: FstabEntry[] = [];
  for (const { line, fields } of fieldLines(text)) {
    const warn = (problem: string): void =>
      problems.add({ severity: "warning", code: "config/invalid-value", origin: { file, line }, text: problem });
    if (entries.length >= maxEntries) {
      warn(`more than ${maxEntries} entries: the rest is ignored`);
      break;
    }
    const [device = "", mountPoint = "", type, options = "defaults", frequency = "0", pass = "0"] = fields.map(
      (field) => decodeOctalEscapes(field, "fstab"),
    );
    if (type === undefined) {
      warn(`expected a device, a mount point, a type and options, got ${fields.length} of these: ignored`);
    } else if ([device, mountPoint, type, options].some(holdsUnprintable)) {
      warn("control characters, or bytes that are no UTF-8: ignored");
    } else {
      if (fields.length === 3) warn('no mount options (the fourth field): taken as "defaults"');
      if (fields.length > 6) warn(`expected at most 6 fields, got ${fields.length}: the others are ignored`);
      if (!/^\d+$/.test(frequency) || !/^\d+$/.test(pass)) warn("the fifth and sixth field are numbers");
      entries.push({ device, mountPoint, type, options: splitOptions(options), line });
    }
  }
  return { file, entries, problems: problems.all };
}

/** Commas separate; inside double quotes they do not (mount(8), on SELinux contexts). */
export function splitOptions(text: string): readonly string[] {
  return (text.match(/(?:"[^"]*"?|[^,"])+/g) ?? []).filter((option) => option !== "");
}
