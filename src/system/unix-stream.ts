import { closeSync, rmSync } from "node:fs";
import { LatchkeyError } from "./errors.ts";
import { errnoName, lastErrno, libc } from "./libc.ts";
import type { SecretBytes } from "./secret-bytes.ts";
import { AF_UNIX, boundSocket, socketAddress, socketFailure } from "./unix-address.ts";

/**
 * AF_UNIX stream sockets that listen, unix(7). Bun has them, but shows neither the credentials nor the name of who connects,
 * and copies what is sent into buffers of its own. What is sent here goes from the pages of a SecretBytes into the kernel.
 */

const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000;
const NONBLOCK_CLOEXEC = 0o4000 | 0o2000000;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const MSG_DONTWAIT_NOSIGNAL = 0x40 | 0x4000;
const POLLIN = 0x1;
const POLLHUP = 0x10;
const EAGAIN = 11;
const EINTR = 4;

/** struct sockaddr_un: two bytes of family, then 108 of path or name. */
const ADDRESS_ROOM = 110;
const FAMILY_SIZE = 2;
/** struct ucred: pid, uid, gid. */
const UCRED_SIZE = 12;
/** What no process runs as. */
const NOBODY = 0xffffffff;
const BACKLOG = 16;

export interface Peer {
  /** By the kernel's word, of the moment it connected (SO_PEERCRED). */
  readonly pid: number;
  readonly uid: number;
  /** The abstract name it bound before it connected, without the NUL in front; undefined when it has none or it is not UTF-8. */
  readonly name: string | undefined;
}

/** One who connected. */
export class StreamConnection implements Disposable {
  readonly peer: Peer;
  readonly #fd: number;
  #isClosed = false;

  /** Takes over the descriptor. */
  constructor(fd: number, peer: Peer) {
    this.#fd = fd;
    this.peer = peer;
  }

  /**
   * The other side has closed or ended: nobody will read what is sent. That it sends nothing itself (POLLRDHUP) says
   * nothing: systemd shuts its writing half down at once.
   */
  get isHungUp(): boolean {
    return this.#isClosed || (eventsOf(this.#fd, 0) & POLLHUP) !== 0;
  }

  /**
   * Connects to the socket at `path`, without waiting.
   * @throws LatchkeyError `system/socket`: nobody listens there, or too many wait already
   */
  static connect(path: string): StreamConnection {
    const address = socketAddress(path);
    const fd = libc().socket(AF_UNIX, SOCK_STREAM_NONBLOCK_CLOEXEC, 0);
    if (fd < 0) throw socketFailure("create a socket for", path);
    try {
      if (libc().connect(fd, address, address.length) < 0) throw socketFailure("connect to", path);
      return new StreamConnection(fd, readPeer(fd));
    } catch (thrown) {
      closeSync(fd);
      throw thrown;
    }
  }

  /**
   * Takes what has come, at most as much as `room` holds, straight into it.
   * @returns how many octets; 0 when nothing has come yet; "ended" when nothing will come any more
   */
  receive(room: Uint8Array): number | "ended" {
    const received = Number(libc().read(this.#fd, room, BigInt(room.length)));
    if (received > 0) return received;
    if (received === 0) return room.length === 0 ? 0 : "ended";
    const errno = lastErrno();
    return errno === EAGAIN || errno === EINTR ? 0 : "ended";
  }

  /**
   * Hands octets that are no secret on to the kernel, as many as it takes now.
   * @returns how many; "ended" when the other side is gone
   */
  sendPlain(bytes: Uint8Array): number | "ended" {
    const sent = Number(libc().sendto(this.#fd, bytes, BigInt(bytes.length), MSG_DONTWAIT_NOSIGNAL, null, 0));
    if (sent >= 0) return sent;
    const errno = lastErrno();
    return errno === EAGAIN || errno === EINTR ? 0 : "ended";
  }

  /**
   * Hands the secret's bytes from `offset` on to the kernel, as many as it takes now.
   * @returns how many; 0 when its buffer is full
   * @throws LatchkeyError `system/socket` when the other side is gone
   */
  send(secret: SecretBytes, offset: number): number {
    const rest = secret.bytes.subarray(offset);
    const sent = Number(libc().sendto(this.#fd, rest, BigInt(rest.length), MSG_DONTWAIT_NOSIGNAL, null, 0));
    if (sent >= 0) return sent;
    const errno = lastErrno();
    if (errno === EAGAIN || errno === EINTR) return 0;
    throw new LatchkeyError("system/socket", `who asked for a key is gone (${errnoName(errno)})`);
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.#fd);
  }
}

/** A socket that others connect to by its path. Disposing takes the path away and turns away whoever still knocks. */
export class StreamListener implements Disposable {
  readonly path: string;
  readonly #fd: number;
  #isClosed = false;

  private constructor(path: string, fd: number) {
    this.path = path;
    this.#fd = fd;
  }

  /**
   * For its owner alone (0600).
   * @throws LatchkeyError `system/socket`, also when something is at that path already
   */
  static bind(path: string): StreamListener {
    const fd = boundSocket(path, SOCK_STREAM_NONBLOCK_CLOEXEC);
    const made = new StreamListener(path, fd);
    if (libc().listen(fd, BACKLOG) === 0) return made;
    const error = socketFailure("listen at", path);
    made[Symbol.dispose]();
    throw error;
  }

  /**
   * Takes the next one who waits, if there is one.
   * @throws LatchkeyError `system/socket` when the kernel does not say who that is; then the connection is closed
   */
  accept(): StreamConnection | undefined {
    if (this.#isClosed || (eventsOf(this.#fd, POLLIN) & POLLIN) === 0) return undefined;
    const fd = libc().accept4(this.#fd, null, null, NONBLOCK_CLOEXEC);
    if (fd < 0) return undefined; // whoever gave up meanwhile is no error
    try {
      return new StreamConnection(fd, readPeer(fd));
    } catch (thrown) {
      closeSync(fd);
      throw thrown;
    }
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    rmSync(this.path, { force: true });
    // Closed without being accepted they would read ECONNRESET, which systemd-cryptsetup takes for a failure; closed after
    // that they read an end of file, which it takes for "no key here".
    for (let knocks = 0; knocks <= BACKLOG; knocks++) this.accept()?.[Symbol.dispose]();
    this.#isClosed = true;
    closeSync(this.#fd);
  }
}

function readPeer(fd: number): Peer {
  const credentials = new Uint32Array(UCRED_SIZE / 4);
  const length = new Uint32Array([UCRED_SIZE]);
  if (libc().getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, length) < 0) {
    throw new LatchkeyError("system/socket", `the kernel does not say who connected (${errnoName(lastErrno())})`);
  }
  const [pid = 0, uid = NOBODY] = credentials;
  return { pid, uid, name: readName(fd) };
}

function readName(fd: number): string | undefined {
  const address = new Uint8Array(ADDRESS_ROOM);
  const length = new Uint32Array([ADDRESS_ROOM]);
  if (libc().getpeername(fd, address, length) < 0) return undefined;
  const used = address.subarray(FAMILY_SIZE, Math.min(length[0] ?? 0, ADDRESS_ROOM));
  if (used.length < 2 || used[0] !== 0) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(used.subarray(1));
  } catch {
    return undefined;
  }
}

/** What poll(2) says of `wanted`, and of hang-ups, which it always tells, without waiting. */
function eventsOf(fd: number, wanted: number): number {
  const entry = new Uint8Array(8); // struct pollfd: fd, events, revents
  const view = new DataView(entry.buffer);
  view.setInt32(0, fd, true);
  view.setInt16(4, wanted, true);
  return libc().poll(entry, 1n, 0) > 0 ? view.getUint16(6, true) : 0;
}
