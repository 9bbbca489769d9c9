import { closeSync, constants, openSync } from "node:fs";
import { libc } from "../../../src/system/libc.ts";

const TIOCSPTLCK = 0x40045431n;
const TIOCGPTN = 0x80045430n;

/** A character device whose other end is ours: stands in for /dev/tpmrm0, which needs hardware or a kernel module. */
export class PtyDevice implements Disposable {
  /** The node to open. */
  readonly path: string;
  /** The other end. */
  readonly master: number;
  /** Keeps the pair alive while nobody has the node open. */
  readonly #keeper: number;

  constructor() {
    this.master = openSync("/dev/ptmx", constants.O_RDWR | constants.O_NOCTTY);
    const number = new Int32Array(1);
    if (libc().ioctl(this.master, TIOCSPTLCK, number) < 0) throw new Error("no pty");
    if (libc().ioctl(this.master, TIOCGPTN, number) < 0) throw new Error("no pty");
    this.path = `/dev/pts/${number[0]}`;
    this.#keeper = openSync(this.path, constants.O_RDWR | constants.O_NOCTTY);
    const { exitCode } = Bun.spawnSync(["stty", "-F", this.path, "raw", "-echo"]);
    if (exitCode !== 0) throw new Error("stty failed");
  }

  [Symbol.dispose](): void {
    closeSync(this.#keeper);
    closeSync(this.master);
  }
}
