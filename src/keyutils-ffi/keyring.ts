import { ptr } from "bun:ffi";
import { LatchkeyError } from "../system/errors.ts";
import { cString, lastErrno, libc } from "../system/libc.ts";
import { SecretBytes } from "../system/secret-bytes.ts";
import { type ErrnoName, errnoName, errnoText } from "./errno.ts";

/** The special keyrings of the calling process, keyrings(7). */
const keyringIds = {
  thread: -1,
  process: -2,
  session: -3,
  user: -4,
  user_session: -5,
} as const;

export type KeyringName = keyof typeof keyringIds;

/** A serial number, or the name of a special keyring. */
export type KeyId = number | KeyringName;

/** System call numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h. */
const syscallNumbers: Partial<Record<string, { add: number; request: number; control: number }>> = {
  x64: { add: 248, request: 249, control: 250 },
  arm64: { add: 217, request: 218, control: 219 },
};

/** include/uapi/linux/keyctl.h */
const KEYCTL = {
  describe: 6,
  link: 8,
  unlink: 9,
  search: 10,
  read: 11,
  setTimeout: 15,
  getKeyringId: 0,
  invalidate: 21,
} as const;

/** The kernel refuses larger descriptions and user payloads (security/keys/keyctl.c, user_defined.c). */
const MAX_DESCRIPTION_BYTES = 4096;
const MAX_PAYLOAD_BYTES = 32767;

/** What add_key, request_key or keyctl refused, with the errno name as `errno`. */
export class KeyringError extends LatchkeyError {
  readonly errno: ErrnoName | `errno ${number}`;

  constructor(operation: string, errno: number, hint?: string) {
    super("keyring/refused", `${operation}: ${errnoText(errno)}`, hint === undefined ? {} : { hint });
    this.errno = errnoName(errno);
  }
}

export interface KeyDescription {
  readonly type: string;
  readonly uid: number;
  readonly gid: number;
  /** The permission mask, keyctl_setperm(3). */
  readonly permissions: number;
  readonly description: string;
}

/** The kernel's keyrings, as keyrings(7) describes them. Every method throws KeyringError. */
export interface Keyring {
  /** add_key(2): adds or updates. @returns the key's serial number */
  addKey(type: "user", description: string, payload: SecretBytes, keyring: KeyId): number;
  /**
   * request_key(2) with destination 0: searches the thread, process and session keyrings just as the kernel does when
   * this process calls mount(2). No destination is ever named, since naming the session keyring makes the kernel create
   * an empty one and hides the user keyring. @returns the serial number, or undefined when there is no such key
   */
  requestKey(type: "user", description: string): number | undefined;
  /** KEYCTL_SEARCH below one keyring. @returns the serial number, or undefined when there is no such key */
  search(keyring: KeyId, type: "user", description: string): number | undefined;
  /** KEYCTL_LINK. Link keyrings, not keys, into the session keyring. */
  link(key: KeyId, keyring: KeyId): void;
  unlink(key: KeyId, keyring: KeyId): void;
  describe(key: KeyId): KeyDescription;
  read(key: KeyId): SecretBytes;
  /** KEYCTL_SET_TIMEOUT. @param seconds from now; 0 clears it */
  setTimeout(key: KeyId, seconds: number): void;
  /** KEYCTL_INVALIDATE: gone at once, for everyone. */
  invalidate(key: KeyId): void;
  /** KEYCTL_GET_KEYRING_ID without creating. @returns the serial number, or undefined when there is none */
  keyringId(keyring: KeyringName): number | undefined;
}

function numbers(): { add: number; request: number; control: number } {
  const known = syscallNumbers[process.arch];
  if (!known) throw new LatchkeyError("keyring/unsupported", `keyrings are not supported on ${process.arch}`);
  return known;
}

function id(key: KeyId): bigint {
  // Signed 32 bits in C; sign-extended, so that the special (negative) ones keep their meaning.
  return BigInt.asUintN(64, BigInt(typeof key === "string" ? keyringIds[key] : key));
}

function checkDescription(description: string): Uint8Array {
  const bytes = cString(description);
  if (bytes.length > MAX_DESCRIPTION_BYTES || description.includes("\0")) {
    throw new LatchkeyError("keyring/refused", "a key description may have 4095 bytes and no NUL");
  }
  return bytes;
}

/** One system call. @returns its result, or a negative errno */
function call(number: number, a: bigint, b: bigint, c: bigint, d: bigint, e: bigint): number {
  const result = Number(libc().syscall(BigInt(number), a, b, c, d, e));
  return result === -1 ? -lastErrno() : result;
}

function control(operation: number, a = 0n, b = 0n, c = 0n, d = 0n): number {
  return call(numbers().control, BigInt(operation), a, b, c, d);
}

function address(bytes: Uint8Array): bigint {
  return BigInt(ptr(bytes));
}

function checked(operation: string, result: number, hint?: string): number {
  if (result < 0) throw new KeyringError(operation, -result, hint);
  return result;
}

/** That no usable key is there is an answer, not a failure; add_key replaces one that expired or was revoked. */
const absent: ReadonlySet<string> = new Set<ErrnoName>(["ENOKEY", "EKEYEXPIRED", "EKEYREVOKED"]);

function found(operation: string, result: number): number | undefined {
  return absent.has(errnoName(-result)) ? undefined : checked(operation, result);
}

/** The kernel's own keyrings. */
export const kernelKeyring: Keyring = {
  addKey(type, description, payload, keyring) {
    if (payload.length === 0 || payload.length > MAX_PAYLOAD_BYTES) {
      throw new LatchkeyError(
        "keyring/refused",
        `a key payload has 1 to ${MAX_PAYLOAD_BYTES} bytes, not ${payload.length}`,
      );
    }
    const typeBytes = cString(type);
    const descriptionBytes = checkDescription(description);
    const result = call(
      numbers().add,
      address(typeBytes),
      address(descriptionBytes),
      BigInt(payload.address),
      BigInt(payload.length),
      id(keyring),
    );
    return checked(`adding the key ${description} to the ${keyring} keyring`, result);
  },

  requestKey(type, description) {
    const typeBytes = cString(type);
    const descriptionBytes = checkDescription(description);
    const result = call(numbers().request, address(typeBytes), address(descriptionBytes), 0n, 0n, 0n);
    return found(`looking for the key ${description}`, result);
  },

  search(keyring, type, description) {
    const typeBytes = cString(type);
    const descriptionBytes = checkDescription(description);
    const result = control(KEYCTL.search, id(keyring), address(typeBytes), address(descriptionBytes), 0n);
    return found(`searching the ${keyring} keyring for ${description}`, result);
  },

  link(key, keyring) {
    checked(`linking ${key} into the ${keyring} keyring`, control(KEYCTL.link, id(key), id(keyring)));
  },

  unlink(key, keyring) {
    checked(`unlinking ${key} from the ${keyring} keyring`, control(KEYCTL.unlink, id(key), id(keyring)));
  },

  describe(key) {
    const buffer = new Uint8Array(MAX_DESCRIPTION_BYTES + 64);
    const length = checked(
      `describing key ${key}`,
      control(KEYCTL.describe, id(key), address(buffer), BigInt(buffer.length)),
    );
    // keyctl_describe(3): "type;uid;gid;perm;description", NUL-terminated; only the description may hold semicolons.
    const text = new TextDecoder().decode(buffer.subarray(0, Math.min(length, buffer.length) - 1));
    const [type = "", uid = "", gid = "", permissions = ""] = text.split(";", 4);
    const prefix = type.length + uid.length + gid.length + permissions.length + 4;
    return {
      type,
      uid: Number(uid),
      gid: Number(gid),
      permissions: Number.parseInt(permissions, 16),
      description: text.slice(prefix),
    };
  },

  read(key) {
    const payload = SecretBytes.allocate(MAX_PAYLOAD_BYTES);
    const result = control(KEYCTL.read, id(key), BigInt(payload.address), BigInt(payload.length));
    if (result < 0) {
      payload[Symbol.dispose]();
      throw new KeyringError(`reading key ${key}`, -result);
    }
    return payload.truncate(result);
  },

  setTimeout(key, seconds) {
    checked(`setting a timeout on key ${key}`, control(KEYCTL.setTimeout, id(key), BigInt(seconds)));
  },

  invalidate(key) {
    checked(`invalidating key ${key}`, control(KEYCTL.invalidate, id(key)));
  },

  keyringId(keyring) {
    return found(`looking for the ${keyring} keyring`, control(KEYCTL.getKeyringId, id(keyring), 0n));
  },
};
