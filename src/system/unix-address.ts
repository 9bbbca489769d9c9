import { LatchkeyError } from "./errors.ts";

export const AF_UNIX = 1;

/** sun_path of struct sockaddr_un, with room for its closing NUL. */
const LONGEST_PATH = 107;

/**
 * struct sockaddr_un, unix(7): the family, then the path with its NUL.
 * @throws LatchkeyError `system/socket` when the path is too long for a socket
 */
export function socketAddress(path: string): Uint8Array {
  const name = new TextEncoder().encode(path);
  if (name.length > LONGEST_PATH) {
    throw new LatchkeyError("system/socket", `the path ${path} is longer than a socket's may be`);
  }
  const address = new Uint8Array(2 + name.length + 1);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(name, 2);
  return address;
}
