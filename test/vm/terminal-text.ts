/** Takes a terminal's escape sequences (ECMA-48) and control characters out of text that arrives in pieces. */

const ESC = "\\u001b";
const BEL = "\\u0007";

/** ESC [ … letter: colours, cursor moves, erasing. */
const CONTROL_SEQUENCE = `${ESC}\\[[0-?]*[ -/]*[@-~]`;
/** ESC ] … BEL or ESC \: titles, and systemd's context marks. */
const CONTROL_STRING = `${ESC}[\\]P^_X][^${BEL}${ESC}]*(?:${BEL}|${ESC}\\\\)`;
const SHORT_SEQUENCE = `${ESC}[ -/]*[0-~]`;
/** All but tab, line feed and ESC. */
const CONTROL_CHARACTER = "[\\u0000-\\u0008\\u000b-\\u001a\\u007f]";

const CONTROLS = new RegExp([CONTROL_SEQUENCE, CONTROL_STRING, SHORT_SEQUENCE, CONTROL_CHARACTER].join("|"), "g");

/** A sequence at the end that may go on in the next piece. */
const UNFINISHED = new RegExp(`${ESC}(?:\\[[0-?]*[ -/]*|[\\]P^_X][^${BEL}${ESC}]*${ESC}?|[ -/]*)$`);

/** A string that never ends is no string: past this, it is taken for text. */
const MOST_HELD = 4096;

export class TerminalText {
  readonly #decoder = new TextDecoder();
  #held = "";

  /** The plain text that these bytes add. */
  add(bytes: Uint8Array): string {
    const raw = this.#held + this.#decoder.decode(bytes, { stream: true });
    const cut = this.#held.length > MOST_HELD ? -1 : raw.search(UNFINISHED);
    this.#held = cut === -1 ? "" : raw.slice(cut);
    return (cut === -1 ? raw : raw.slice(0, cut)).replace(CONTROLS, "");
  }
}
