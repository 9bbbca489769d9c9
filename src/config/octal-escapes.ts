/**
 * fstab and crypttab write a space as `\040`, because blanks end their fields. The escapes stand for bytes, so letters beyond
 * ASCII take several of them; what is no escape stays as it is.
 *
 * `fstab`: a backslash and three octal digits (getmntent(3), libmount). `crypttab`: a backslash, a zero and up to three
 * octal digits, as Debian's crypttab(5) has it (printf's %b); systemd decodes nothing there, and common names need nothing.
 */
export function decodeOctalEscapes(field: string, dialect: "fstab" | "crypttab"): string {
  const octal = dialect === "fstab" ? /^\\([0-3][0-7]{2})/ : /^\\0([0-3]?[0-7]{1,2})/;
  if (!field.includes("\\")) return field;
  const pieces: Uint8Array[] = [];
  let at = 0;
  while (at < field.length) {
    const match = field[at] === "\\" ? octal.exec(field.slice(at, at + 5)) : null;
    if (match) {
      pieces.push(Uint8Array.of(Number.parseInt(match[1] ?? "0", 8)));
      at += match[0].length;
    } else {
      const next = field.indexOf("\\", at + 1);
      const end = next === -1 ? field.length : next;
      pieces.push(new TextEncoder().encode(field.slice(at, end)));
      at = end;
    }
  }
  return new TextDecoder().decode(Buffer.concat(pieces));
}
