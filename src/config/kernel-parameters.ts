/** One parameter of the kernel command line; `value` is undefined where there is no `=`. */
export interface KernelParameter {
  readonly name: string;
  readonly value: string | undefined;
}

/**
 * Cuts a command line as the kernel does (next_arg() in lib/cmdline.c): blanks separate unless a double quote is open, and
 * quotes vanish only around a whole value or a whole parameter: `root="LABEL=a b"`, `"root=LABEL=a b"`. In `root=LABEL="a b"`
 * they stay, for whoever reads the value. There are no escapes. What follows `--` is for init.
 */
export function tokenizeKernelCommandLine(text: string): readonly KernelParameter[] {
  const parameters: KernelParameter[] = [];
  for (const token of tokens(text)) {
    const parameter = splitToken(token);
    if (parameter.name === "--" && parameter.value === undefined) break;
    if (parameter.name !== "") parameters.push(parameter);
  }
  return parameters;
}

/** The kernel and systemd take `-` and `_` in names as one (parameq() in kernel/params.c). */
export function isSameParameterName(one: string, other: string): boolean {
  return one.replaceAll("-", "_") === other.replaceAll("-", "_");
}

function* tokens(text: string): Generator<string> {
  let start: number | undefined;
  let isQuoted = false;
  for (let at = 0; at <= text.length; at += 1) {
    const character = text[at];
    const isBlank = character !== undefined && " \t\n\v\f\r\0".includes(character);
    if (character === undefined || (isBlank && !isQuoted)) {
      if (start !== undefined) yield text.slice(start, at);
      start = undefined;
    } else {
      start ??= at;
      if (character === '"') isQuoted = !isQuoted;
    }
  }
}

function splitToken(token: string): KernelParameter {
  const isQuoted = token.startsWith('"');
  const inner = isQuoted ? withoutLastQuote(token.slice(1)) : token;
  // An equals sign in the first place is no separator but part of a name, as in the kernel.
  const equals = inner.indexOf("=", 1);
  if (equals === -1) return { name: inner, value: undefined };
  const value = inner.slice(equals + 1);
  return { name: inner.slice(0, equals), value: value.startsWith('"') ? withoutLastQuote(value.slice(1)) : value };
}

function withoutLastQuote(text: string): string {
  return text.endsWith('"') ? text.slice(0, -1) : text;
}
