import { oneLine } from "../../system/errors.ts";

/** What a session may do, and nothing else. */
export const FORCED_COMMAND = "/usr/bin/latchkey answer";

export type Server = "openssh" | "dropbear";

export interface Rewritten {
  /** Lines for the image's authorized_keys. */
  readonly lines: readonly string[];
  /** What was left out and why, each with its line number. */
  readonly warnings: readonly string[];
}

/** Far above any real file; a longer line or file is something else. */
const MOST_LINES = 1000;
const LONGEST_LINE = 16 * 1024;

/** sshd(8), "AUTHORIZED_KEYS FILE FORMAT": keys that today's servers take. */
const keyTypes = new Set([
  "ssh-ed25519",
  "ssh-rsa",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "sk-ssh-ed25519@openssh.com",
  "sk-ecdsa-sha2-nistp256@openssh.com",
]);

/** Options that say who may log in, or when: to leave one out would let in more than the owner of the file wrote down. */
const carried: Readonly<Record<Server, ReadonlySet<string>>> = {
  openssh: new Set(["from", "expiry-time", "verify-required"]),
  dropbear: new Set(["verify-required"]),
};
const limiting = new Set(["from", "expiry-time", "verify-required", "cert-authority", "principals"]);

interface Option {
  readonly name: string;
  /** As written, quotes included; undefined for a word alone. */
  readonly value: string | undefined;
}

/**
 * The keys of an authorized_keys file, each forced to `latchkey answer` with everything else forbidden but a terminal. All options
 * go except those that limit who may log in; a key with a limit that the server does not know is left out.
 * @param isOwnFile the file is latchkey's own. In root's file a key that is forced to a command of its own is left out: its
 *   owner is not trusted with more than that command.
 */
export function rewriteAuthorizedKeys(text: string, server: Server, isOwnFile: boolean): Rewritten {
  const lines: string[] = [];
  const warnings: string[] = [];
  const all = text.split("\n");
  if (all.length > MOST_LINES) warnings.push(`only the first ${MOST_LINES} lines count`);
  for (const [index, line] of all.slice(0, MOST_LINES).entries()) {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#")) continue;
    const outcome = rewriteLine(trimmed, server, isOwnFile);
    if ("line" in outcome) lines.push(outcome.line);
    else warnings.push(`line ${index + 1}: ${outcome.problem}`);
  }
  return { lines, warnings };
}

function rewriteLine(line: string, server: Server, isOwnFile: boolean): { line: string } | { problem: string } {
  if (line.length > LONGEST_LINE) return { problem: "too long for a key" };
  const split = splitOptions(line);
  if (!split) return { problem: "a quotation mark is not closed" };
  const [type = "", data = "", ...comment] = split.rest.split(/[ \t]+/);
  if (!keyTypes.has(type)) return { problem: `no key of a known type` };
  if (!isKeyOf(type, data)) return { problem: `the key does not fit its type ${type}` };
  const options = parseOptions(split.options);
  if (!options) return { problem: "the options cannot be read" };
  const limits = options.filter(({ name }) => limiting.has(name));
  const foreign = limits.find(({ name }) => !carried[server].has(name));
  if (foreign)
    return { problem: `the option ${foreign.name} limits the key, and ${server} in the image does not know it` };
  if (!isOwnFile && options.some(({ name }) => name === "command")) {
    return { problem: "the key is forced to a command of its own; in /etc/latchkey/authorized_keys it would be taken" };
  }
  const kept = limits.map(({ name, value }) => (value === undefined ? name : `${name}=${value}`));
  const note = oneLine(comment.join(" "));
  return { line: [`${[...restrictions[server], ...kept].join(",")} ${type} ${data}`, note].join(" ").trimEnd() };
}

/**
 * dropbear's `restrict` forbids the terminal as well, with no way to allow it again (svr-authpubkeyoptions.c, 2022.83), and without
 * a terminal no question hides what is typed.
 */
const restrictions: Readonly<Record<Server, readonly string[]>> = {
  openssh: ["restrict", "pty", `command="${FORCED_COMMAND}"`],
  dropbear: ["no-port-forwarding", "no-agent-forwarding", "no-X11-forwarding", `command="${FORCED_COMMAND}"`],
};

/** The options in front of a key, if there are any. Blanks count only outside of quotes. */
function splitOptions(line: string): { options: string; rest: string } | undefined {
  if (keyTypes.has(line.split(/[ \t]/, 1)[0] ?? "")) return { options: "", rest: line };
  let isQuoted = false;
  for (let at = 0; at < line.length; at += 1) {
    const character = line[at];
    if (character === "\\" && line[at + 1] === '"') at += 1;
    else if (character === '"') isQuoted = !isQuoted;
    else if (!isQuoted && (character === " " || character === "\t")) {
      return { options: line.slice(0, at), rest: line.slice(at).trim() };
    }
  }
  return isQuoted ? undefined : { options: line, rest: "" };
}

const OPTION = /([A-Za-z0-9-]{1,64})(?:=("(?:[^"\\]|\\"|\\(?!"))*"))?(?:,|$)/y;

/** @returns undefined unless all of it is options by the rules of sshd(8) */
function parseOptions(text: string): readonly Option[] | undefined {
  const options: Option[] = [];
  OPTION.lastIndex = 0;
  while (OPTION.lastIndex < text.length) {
    const match = OPTION.exec(text);
    if (!match) return undefined;
    const [, name = "", value] = match;
    // Control characters would be a second line, or worse.
    if (value !== undefined && oneLine(value) !== value) return undefined;
    options.push({ name: name.toLowerCase(), value });
  }
  return text.endsWith(",") ? undefined : options;
}

/** The data are base64 and begin with the name of the type, RFC 4253 section 6.6. */
function isKeyOf(type: string, data: string): boolean {
  if (!/^[A-Za-z0-9+/]{16,12000}={0,2}$/.test(data)) return false;
  const bytes = Buffer.from(data, "base64");
  const length = bytes.length >= 4 ? bytes.readUInt32BE(0) : 0;
  return length === type.length && bytes.subarray(4, 4 + length).toString("latin1") === type;
}
