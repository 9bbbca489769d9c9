import { ptr } from "bun:ffi";
import { closeSync, rmSync } from "node:fs";
import { LatchkeyError } from "./errors.ts";
import { errnoName, lastErrno, libc } from "./libc.ts";
import type { SecretBytes } from "./secret-bytes.ts";
import { AF_UNIX, boundSocket, socketAddress, socketFailure } from "./unix-address.ts";

/**
 * AF_UNIX datagram sockets, unix(7), which Bun does not offer. What arrives goes from the kernel straight into the pages of
 * a SecretBytes: no Buffer, no string and no event-loop buffer of Bun's ever holds it.
 */

const SOCK_DGRAM_NONBLOCK_CLOEXEC = 2 | 0o4000 | 0o2000000;
const SOL_SOCKET = 1;
const SO_PASSCRED = 16;
const SCM_CREDENTIALS = 2;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const EAGAIN = 11;
const EINTR = 4;

/** struct msghdr of recvmsg(2) on 64-bit machines: pointers and lengths of 8 bytes each, in this order. */
const MSGHDR = { size: 56, iov: 16, iovlen: 24, control: 32, controllen: 40, flags: 48 } as const;
/** struct iovec, laid behind it: address and length. */
const IOVEC = { at: 56, size: 16 } as const;
/** One cmsg(3) with a struct ucred, laid behind that: a header of 16 bytes, then pid, uid and gid, padded to 8. */
const CMSG = { at: 72, size: 32, filled: 28, level: 80, type: 84, pid: 88, uid: 92 } as const;

export interface Datagram {
  /** Bytes received, at the start of the secret. */
  readonly length: number;
  /** The datagram was larger than the room for it; the rest is lost. */
  readonly isCut: boolean;
  /** Who sent it, by the kernel's word (SCM_CREDENTIALS); undefined when the kernel did not say. */
  readonly sender: { readonly pid: number; readonly uid: number } | undefined;
}

/** A socket that others send to by its path; disposing takes the path away and closes it. */
export class DatagramSocket implements Disposable {
  readonly path: string;
  readonly #fd: number;
  #isClosed = false;

  private constructor(path: string, fd: number) {
    this.path = path;
    this.#fd = fd;
  }

  /** @throws LatchkeyError `system/socket` */
  static bind(path: string): DatagramSocket {
    const fd = boundSocket(path, SOCK_DGRAM_NONBLOCK_CLOEXEC, (made) => {
      const on = new Int32Array([1]);
      if (libc().setsockopt(made, SOL_SOCKET, SO_PASSCRED, on, on.byteLength) < 0) {
        throw socketFailure("ask who sends to", path);
      }
    });
    return new DatagramSocket(path, fd);
  }

  /** For poll(2). */
  get fd(): number {
    return this.#fd;
  }

  /**
   * Takes one waiting datagram into `room`, which keeps its length.
   * @returns undefined when none is waiting
   */
  receive(room: SecretBytes): Datagram | undefined {
    // One block for all three structs, handed to the call itself, so that the collector cannot take a part of it away.
    const bytes = new Uint8Array(MSGHDR.size + IOVEC.size + CMSG.size);
    const block = new DataView(bytes.buffer);
    const address = BigInt(ptr(bytes));
    block.setBigUint64(MSGHDR.iov, address + BigInt(IOVEC.at), true);
    block.setBigUint64(MSGHDR.iovlen, 1n, true);
    block.setBigUint64(MSGHDR.control, address + BigInt(CMSG.at), true);
    // Room for the credentials alone: descriptors that a sender attaches do not fit, and the kernel drops them.
    block.setBigUint64(MSGHDR.controllen, BigInt(CMSG.size), true);
    block.setBigUint64(IOVEC.at, BigInt(room.address), true);
    block.setBigUint64(IOVEC.at + 8, BigInt(room.length), true);
    const length = Number(libc().recvmsg(this.#fd, bytes, MSG_DONTWAIT));
    if (length < 0) {
      const errno = lastErrno();
      if (errno === EAGAIN || errno === EINTR) return undefined;
      throw new LatchkeyError("system/socket", `cannot receive on ${this.path} (${errnoName(errno)})`);
    }
    return {
      length,
      isCut: (block.getInt32(MSGHDR.flags, true) & MSG_TRUNC) !== 0,
      sender: readCredentials(block),
    };
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    rmSync(this.path, { force: true });
    closeSync(this.#fd);
  }
}

function readCredentials(block: DataView): Datagram["sender"] {
  if (block.getBigUint64(MSGHDR.controllen, true) < BigInt(CMSG.filled)) return undefined;
  if (block.getInt32(CMSG.level, true) !== SOL_SOCKET) return undefined;
  if (block.getInt32(CMSG.type, true) !== SCM_CREDENTIALS) return undefined;
  return { pid: block.getInt32(CMSG.pid, true), uid: block.getUint32(CMSG.uid, true) };
}

/**
 * Sends the bytes as one datagram to the socket at `path`, without waiting: what an agent does to answer a question.
 * @throws LatchkeyError `system/socket`: nobody listens there any more, or its queue is full
 */
export function sendDatagram(path: string, secret: SecretBytes): void {
  const address = socketAddress(path);
  const fd = libc().socket(AF_UNIX, SOCK_DGRAM_NONBLOCK_CLOEXEC, 0);
  if (fd < 0) throw socketFailure("create a socket for", path);
  try {
    const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    const sent = libc().sendto(fd, secret.bytes, BigInt(secret.length), flags, address, address.length);
    if (sent < 0) throw socketFailure("send to", path);
  } finally {
    closeSync(fd);
  }
}
