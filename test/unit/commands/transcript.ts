import { readFileSync } from "node:fs";

/**
 * A transcript, in the manner of age's test scripts: what is there, the commands one after the other, and all that each says.
 *
 *     # the first line is the test's name
 *     image default.img            a fixture of test/fixtures/bcachefs, whole or damaged, unpacked
 *     luks data.img                a LUKS2 that cryptsetup formats with `luksPassphrase` and the UUID `luksUuid`
 *     header argon2id.img          a LUKS header of the fixtures, without its key slots
 *     unreadable default.img       only its owner, root, may read it
 *     as nobody                    the commands run as a user who owns nothing
 *     needs keyring                skipped where the kernel refuses keys
 *     $ latchkey verify ./default.img --passphrase-file - < right
 *     1| a line of standard output
 *     2| a line of standard error
 *     tty> a line on the terminal; having tty lines gives the command a terminal
 *     tty< what is typed, then Enter; ^C and ^D alone are these keys
 *     exit 0
 *     -- right --
 *     the file's lines; a path in /etc or /proc is one of the machine
 *
 * After a change of words, record-transcripts.ts writes down what the commands say now.
 */
export interface Transcript {
  readonly name: string;
  readonly images: readonly string[];
  readonly luks: readonly string[];
  readonly headers: readonly string[];
  readonly unreadable: readonly string[];
  readonly asNobody: boolean;
  readonly needsKeyring: boolean;
  readonly commands: readonly CommandRecord[];
  readonly files: ReadonlyMap<string, string>;
}

export interface CommandRecord {
  /** As written. */
  readonly line: string;
  readonly argv: readonly string[];
  readonly stdin: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
  readonly dialogue: readonly { readonly typed: boolean; readonly text: string }[];
  readonly status: number;
}

export function readTranscript(path: string): Transcript {
  const [script = "", ...sections] = readFileSync(path, "utf8").split(/^-- (.+) --\n/m);
  const files = new Map<string, string>();
  for (let index = 0; index < sections.length; index += 2) files.set(sections[index] ?? "", sections[index + 1] ?? "");
  const [setUp = "", ...blocks] = script.split(/^\$ latchkey(?: |$)/m);
  const directives = setUp.split("\n").filter((line) => line !== "");
  const strange = directives.find(
    (line) => !/^(?:# |image |luks |header |unreadable |as nobody$|needs keyring$)/.test(line),
  );
  if (strange !== undefined) throw new Error(`${path} has a line of no known kind: ${strange}`);
  return {
    name: directives[0]?.replace(/^# /, "") ?? path,
    images: directives.flatMap((line) => /^image (.+)\.img$/.exec(line)?.[1] ?? []),
    luks: directives.flatMap((line) => /^luks (.+\.img)$/.exec(line)?.[1] ?? []),
    headers: directives.flatMap((line) => /^header (.+)\.img$/.exec(line)?.[1] ?? []),
    unreadable: directives.flatMap((line) => /^unreadable (.+)$/.exec(line)?.[1] ?? []),
    asNobody: directives.includes("as nobody"),
    needsKeyring: directives.includes("needs keyring"),
    commands: blocks.map(readCommand),
    files,
  };
}

function readCommand(block: string): CommandRecord {
  const [line = "", ...rest] = block.split("\n");
  const [command = "", stdin] = line.split(" < ");
  const lines = rest.filter((each) => each !== "" && !each.startsWith("#"));
  const withMark = (mark: RegExp): string[] =>
    lines.filter((each) => mark.test(each)).map((each) => each.replace(mark, ""));
  const output = (mark: RegExp): string =>
    withMark(mark)
      .map((each) => `${each}\n`)
      .join("");
  const [status = "without exit"] = withMark(/^exit /);
  const known = /^(?:1\||2\||tty[<>]|exit )/;
  const strange = lines.find((each) => !known.test(each));
  if (strange !== undefined) throw new Error(`a transcript has a line of no known kind: ${strange}`);
  return {
    line: `latchkey ${line}`,
    argv: [...command.matchAll(/"([^"]*)"|\S+/g)].map(([all, quoted]) => quoted ?? all),
    stdin,
    stdout: output(/^1\| ?/),
    stderr: output(/^2\| ?/),
    dialogue: lines
      .filter((each) => each.startsWith("tty"))
      .map((each) => ({ typed: each[3] === "<", text: each.slice(5) })),
    status: Number(status),
  };
}
