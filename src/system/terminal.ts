import { closeSync, constants, openSync, writeSync } from "node:fs";
import { LatchkeyError } from "./errors.ts";
import { errnoName, lastErrno, libc } from "./libc.ts";
import { SecretBytes } from "./secret-bytes.ts";

/**
 * A terminal to ask for secrets on, by ioctl_tty(2) with the kernel's own struct termios (36 bytes, equal on x86-64 and
 * arm64), because that of the C library differs between its versions.
 */
const TERMIOS_SIZE = 36;
const OFFSET = { input: 0, local: 12, characters: 17 } as const;

const TCGETS = 0x5401n;
const TCSETS = 0x5402n;

// asm-generic/termbits.h; the meanings are in termios(3).
const INPUT = { ISTRIP: 0o40, INLCR: 0o100, IGNCR: 0o200, ICRNL: 0o400, IUCLC: 0o1000, IUTF8: 0o40000 } as const;
const LOCAL = { ISIG: 0o1, ICANON: 0o2, ECHO: 0o10, ECHONL: 0o100 } as const;
const VEOL = 11;

/** What ctrl-C sends (ETX). */
export const INTERRUPT = 0x03;
const LINE_FEED = 0x0a;

/** The kernel's line buffer, N_TTY_BUF_SIZE: a longer line arrives cut, and its line feed takes the last byte. */
export const LINE_BUFFER = 4096;

const EAGAIN = 11;
const EINTR = 4;
const O_CLOEXEC = 0o2000000;

/** The terminal's settings as bytes of struct termios. */
export type TerminalSettings = Uint8Array<ArrayBuffer>;

/**
 * The same settings made fit for a secret:
 * - ECHO and ECHONL off. That is also what makes the kernel wipe a line from its buffer once it was read (zero_buffer in
 *   drivers/tty/n_tty.c does so only with ICANON on and ECHO off), so a line must be read before the settings go back;
 * - ICANON on: a line at a time, with backspace and ctrl-U; IUTF8, so that backspace takes a whole character;
 * - ICRNL on, IGNCR and INLCR off: Enter on an early-boot console may send a carriage return;
 * - ISTRIP and IUCLC off: they would change the bytes of a passphrase;
 * - ISIG off, and ctrl-C as a second end of line: a process without a controlling terminal would never get the signal,
 *   and one with it would die with the terminal still silent. This way ctrl-C is an answer: "no".
 */
function settingsForSecrets(settings: TerminalSettings): TerminalSettings {
  const changed = settings.slice();
  const view = new DataView(changed.buffer);
  const cleared = INPUT.ISTRIP | INPUT.INLCR | INPUT.IGNCR | INPUT.IUCLC;
  const input = (view.getUint32(OFFSET.input, true) & ~cleared) | INPUT.ICRNL | INPUT.IUTF8;
  const local = (view.getUint32(OFFSET.local, true) & ~(LOCAL.ISIG | LOCAL.ECHO | LOCAL.ECHONL)) | LOCAL.ICANON;
  view.setUint32(OFFSET.input, input >>> 0, true);
  view.setUint32(OFFSET.local, local >>> 0, true);
  changed[OFFSET.characters + VEOL] = INTERRUPT;
  return changed;
}

/** The settings with line editing off: what has been typed of a line becomes readable. */
function withoutLines(settings: TerminalSettings): TerminalSettings {
  const changed = settings.slice();
  const view = new DataView(changed.buffer);
  view.setUint32(OFFSET.local, (view.getUint32(OFFSET.local, true) & ~LOCAL.ICANON) >>> 0, true);
  return changed;
}

/** What a line that was read amounts to; `length` leaves out its end. */
export type Line =
  | { readonly kind: "line"; readonly length: number }
  | { readonly kind: "interrupt" }
  | { readonly kind: "end-of-input" }
  | { readonly kind: "too-long" };

/** Judges the bytes that one read(2) of a terminal in line mode gave. */
export function judgeLine(bytes: Uint8Array): Line {
  const last = bytes.at(-1);
  if (last === undefined) return { kind: "end-of-input" }; // ctrl-D on an empty line
  if (last === INTERRUPT) return { kind: "interrupt" };
  // A full buffer: the kernel has thrown away what came after it, so this is not what was typed.
  if (bytes.length >= LINE_BUFFER) return { kind: "too-long" };
  // Without a line feed it was ended by ctrl-D, which in the middle of a line means "take what is there".
  return { kind: "line", length: last === LINE_FEED ? bytes.length - 1 : bytes.length };
}

export function readSettings(fd: number): TerminalSettings | undefined {
  const settings = new Uint8Array(TERMIOS_SIZE);
  return libc().ioctl(fd, TCGETS, settings) < 0 ? undefined : settings;
}

/**
 * Applies settings at once (TCSANOW): the ways that wait until all output has gone out would block for as long as
 * somebody holds the console with ctrl-S.
 */
export function applySettings(fd: number, settings: TerminalSettings): boolean {
  return libc().ioctl(fd, TCSETS, settings) === 0;
}

/** A terminal that shows nothing of what is typed, from hide() until restore() or dispose. */
export class Terminal implements Disposable {
  readonly path: string;
  readonly fd: number;
  readonly #original: TerminalSettings;
  readonly #silent: TerminalSettings;
  #isHidden = false;
  #isClosed = false;

  private constructor(path: string, fd: number, original: TerminalSettings) {
    this.path = path;
    this.fd = fd;
    this.#original = original;
    this.#silent = settingsForSecrets(original);
  }

  /** @throws LatchkeyError `prompt/no-console` */
  static open(path: string): Terminal {
    let fd: number;
    try {
      // Opened anew, so O_NONBLOCK concerns nobody else; O_NOCTTY, so that we do not become the console's session.
      fd = openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK | O_CLOEXEC);
    } catch (cause) {
      throw new LatchkeyError("prompt/no-console", `cannot open ${path} to ask on`, { cause });
    }
    const settings = readSettings(fd);
    if (settings) return new Terminal(path, fd, settings);
    closeSync(fd);
    throw new LatchkeyError("prompt/no-console", `${path} is not a terminal to ask on`);
  }

  /** @throws LatchkeyError `prompt/no-console` when it would not stop showing what is typed */
  hide(): void {
    if (this.#isHidden) return;
    if (!applySettings(this.fd, this.#silent)) {
      const reason = errnoName(lastErrno());
      throw new LatchkeyError("prompt/no-console", `${this.path} cannot be kept from showing a passphrase (${reason})`);
    }
    this.#isHidden = true;
  }

  restore(): void {
    if (!this.#isHidden) return;
    this.#isHidden = false;
    applySettings(this.fd, this.#original);
  }

  /**
   * Throws away what was typed but not read, half a passphrase perhaps, so that it neither reaches whoever reads the
   * terminal next nor stays in memory. tcflush(3) would only forget it; instead it is read, because the kernel wipes what
   * is read. Line mode switched off and on again makes an unfinished line readable.
   */
  discardTyped(): void {
    if (!this.#isHidden) return;
    applySettings(this.fd, withoutLines(this.#silent));
    applySettings(this.fd, this.#silent);
    using bin = SecretBytes.allocate(LINE_BUFFER);
    // Bounded: two full buffers are more than can be waiting.
    for (let taken = 0; taken < 2 * LINE_BUFFER; ) {
      const length = this.#read(bin);
      if (length <= 0) return;
      taken += length;
    }
  }

  /**
   * Takes a line that poll(2) has announced, straight into `room` (of LINE_BUFFER bytes).
   * @returns undefined when there is none after all; "hung-up" when the terminal has gone
   */
  readLine(room: SecretBytes): Line | "hung-up" | undefined {
    const length = this.#read(room);
    if (length >= 0) return judgeLine(room.bytes.subarray(0, length));
    return -length === EAGAIN || -length === EINTR ? undefined : "hung-up";
  }

  /** Writes what the terminal takes now. @returns the number of bytes taken */
  write(bytes: Uint8Array): number {
    try {
      return writeSync(this.fd, bytes);
    } catch {
      return 0; // EAGAIN: held with ctrl-S, or slow. EIO: gone, which reading will tell.
    }
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.discardTyped();
    this.restore();
    this.#isClosed = true;
    closeSync(this.fd);
  }

  /** read(2); the negative errno when it fails. */
  #read(room: SecretBytes): number {
    const length = Number(libc().read(this.fd, room.bytes, BigInt(room.length)));
    return length < 0 ? -lastErrno() : length;
  }
}
