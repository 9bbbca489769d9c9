import { type CrypttabOption, readCrypttabOption } from "./crypttab-options.ts";
import { parseDeviceReference } from "./device-reference.ts";
import { decodeOctalEscapes } from "./octal-escapes.ts";
import { holdsUnprintable, quoted } from "./parsed.ts";
import type { DeviceReference } from "./plan.ts";
import { type Problem, ProblemList } from "./problems.ts";
import { fieldLines, maxEntries } from "./table-lines.ts";

/** One mapping of crypttab(5), as systemd and Debian both understand it. */
export interface CrypttabEntry {
  readonly name: string;
  readonly device: DeviceReference;
  /** The third field as written; undefined where it is missing, which systemd takes as `none` and Debian refuses. */
  readonly keyField: string | undefined;
  /** The key file that the third field names; undefined where the passphrase is asked for. */
  readonly keyFile: string | undefined;
  readonly options: readonly CrypttabOption[];
  readonly line: number;
}

export interface Crypttab {
  readonly file: string;
  readonly entries: readonly CrypttabEntry[];
  /** All of them warnings: the file is the system's. */
  readonly problems: readonly Problem[];
}

/** Never throws. A broken line is named and left out; of two entries with one name the first counts, as for Debian. */
export function parseCrypttab(text: string, file: string): Crypttab {
  const problems = new ProblemList();
  const entries: CrypttabEntry[] = [];
  const lineOfName = new Map<string, number>();
  for (const { line, fields } of fieldLines(text)) {
    const warn = (problem: string): void =>
      problems.add({ severity: "warning", code: "config/invalid-value", origin: { file, line }, text: problem });
    if (entries.length >= maxEntries) {
      warn(`more than ${maxEntries} entries: the rest is ignored`);
      break;
    }
    const entry = readEntry(line, fields);
    if (typeof entry === "string") {
      warn(`${entry}: ignored`);
      continue;
    }
    const earlier = lineOfName.get(entry.name);
    if (earlier !== undefined) {
      warn(`${quoted(entry.name)} is named in line ${earlier} already: ignored`);
      continue;
    }
    if (fields.length > 4) warn(`expected at most 4 fields, got ${fields.length}: the others are ignored`);
    lineOfName.set(entry.name, line);
    entries.push(entry);
  }
  return { file, entries, problems: problems.all };
}

/** The entry, or why there is none. */
function readEntry(line: number, fields: readonly string[]): CrypttabEntry | string {
  const [name = "", deviceText, keyField] = fields.map((field) => decodeOctalEscapes(field, "crypttab"));
  if (deviceText === undefined) return "expected a name and a device";
  if (name.includes("/") || name === "." || name === ".." || holdsUnprintable(name)) {
    return `${quoted(name)} cannot be the name of a mapping`;
  }
  const device = parseDeviceReference(deviceText);
  if ("problem" in device) return `${name}: ${device.problem}`;
  if (keyField !== undefined && holdsUnprintable(keyField)) return `${name}: the third field has control characters`;
  const asks = keyField === undefined || ["", "none", "-"].includes(keyField);
  // Debian splits before it decodes, so that \054 can stand for a comma inside a value.
  const options = (fields[3] ?? "")
    .split(",")
    .filter((option) => option !== "")
    .map((option) => readCrypttabOption(decodeOctalEscapes(option, "crypttab")));
  return { name, device: device.value, keyField, keyFile: asks ? undefined : keyField, options, line };
}
