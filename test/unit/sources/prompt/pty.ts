import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import { libc } from "../../../../src/system/libc.ts";
import { readSettings } from "../../../../src/system/terminal.ts";

const TIOCSPTLCK = 0x40045431n;
const TIOCGPTN = 0x80045430n;

/** A real pseudo-terminal, pty(7): the test is the person at it. */
export class Pty implements Disposable {
  readonly path: string;
  readonly #master: number;
  readonly #slave: number;
  #seen = "";
  #isHungUp = false;

  constructor() {
    this.#master = openSync("/dev/ptmx", constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
    const number = new Int32Array(1);
    if (libc().ioctl(this.#master, TIOCSPTLCK, number) < 0) throw new Error("no pty");
    if (libc().ioctl(this.#master, TIOCGPTN, number) < 0) throw new Error("no pty");
    this.path = `/dev/pts/${number[0]}`;
    this.#slave = openSync(this.path, constants.O_RDWR | constants.O_NOCTTY);
  }

  type(keys: string | Uint8Array): void {
    writeSync(this.#master, typeof keys === "string" ? new TextEncoder().encode(keys) : keys);
  }

  /** All that was shown so far. */
  seen(): string {
    const buffer = new Uint8Array(4096);
    try {
      for (;;) this.#seen += new TextDecoder().decode(buffer.subarray(0, readSync(this.#master, buffer)));
    } catch {
      return this.#seen; // nothing more for now
    }
  }

  async shows(text: string, times = 1): Promise<void> {
    for (let tries = 0; tries < 500; tries++) {
      if (this.seen().split(text).length > times) return;
      await Bun.sleep(10);
    }
    throw new Error(`the terminal never showed ${JSON.stringify(text)}, only ${JSON.stringify(this.seen())}`);
  }

  /** The terminal's settings, to compare before and after. */
  settings(): string {
    return Buffer.from(readSettings(this.#slave) ?? []).toString("hex");
  }

  /** What a program that reads the terminal next would get, without waiting. */
  leftToRead(): string {
    const fd = openSync(this.path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
    const buffer = new Uint8Array(4096);
    try {
      return new TextDecoder().decode(buffer.subarray(0, readSync(fd, buffer)));
    } catch {
      return "";
    } finally {
      closeSync(fd);
    }
  }

  hangUp(): void {
    if (this.#isHungUp) return;
    this.#isHungUp = true;
    closeSync(this.#master);
  }

  [Symbol.dispose](): void {
    this.hangUp();
    closeSync(this.#slave);
  }
}
