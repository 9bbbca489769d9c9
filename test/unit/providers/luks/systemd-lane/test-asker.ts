import { dlopen, FFIType } from "bun:ffi";
import { closeSync, readSync } from "node:fs";
import { socketAddress } from "../../../../../src/system/unix-address.ts";

const { i32, u32, ptr } = FFIType;
const c = dlopen("libc.so.6", {
  socket: { args: [i32, i32, i32], returns: i32 },
  bind: { args: [i32, ptr, u32], returns: i32 },
  connect: { args: [i32, ptr, u32], returns: i32 },
  shutdown: { args: [i32, i32], returns: i32 },
}).symbols;

const AF_UNIX = 1;
const SOCK_STREAM_NONBLOCK = 1 | 0o4000;
const SHUT_WR = 1;

/** Asks for a key as systemd-cryptsetup does: binds an abstract name, connects, ends its own half, reads to the end. */
export class TestAsker implements Disposable {
  readonly #fd: number;
  #isClosed = false;

  /** @param name what it binds; undefined to bind none */
  constructor(path: string, name: string | undefined) {
    this.#fd = c.socket(AF_UNIX, SOCK_STREAM_NONBLOCK, 0);
    if (name !== undefined) {
      const address = Uint8Array.of(AF_UNIX, 0, 0, ...new TextEncoder().encode(name));
      if (c.bind(this.#fd, address, address.length) !== 0) throw new Error(`cannot bind ${name}`);
    }
    const address = socketAddress(path);
    if (c.connect(this.#fd, address, address.length) !== 0) throw new Error(`nobody listens at ${path}`);
    c.shutdown(this.#fd, SHUT_WR);
  }

  /** What it was given, when the other side has ended; throws when the connection was reset. */
  async answer(): Promise<string> {
    const room = new Uint8Array(65536);
    let text = "";
    for (;;) {
      try {
        const length = readSync(this.#fd, room);
        if (length === 0) return text;
        text += new TextDecoder().decode(room.subarray(0, length));
      } catch (thrown) {
        if (!(thrown instanceof Error && "code" in thrown && thrown.code === "EAGAIN")) throw thrown;
        await Bun.sleep(2);
      }
    }
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.#fd);
  }
}

let number = 0x1000;

/** A name like systemd-cryptsetup's, unique as the kernel wants it. */
export function nameFor(volume: string, wants = "cryptsetup"): string {
  number += 1;
  return `${process.pid.toString(16)}${number.toString(16)}/${wants}/${volume}`;
}
