/** The errors that add_key(2), request_key(2) and keyctl(2) give, with what they mean for keyrings. */
const meanings = {
  1: ["EPERM", "operation not permitted"],
  2: ["ENOENT", "no matching key"],
  4: ["EINTR", "interrupted"],
  11: ["EAGAIN", "try again"],
  12: ["ENOMEM", "the kernel has no memory for it"],
  13: ["EACCES", "the keyring or key does not permit it"],
  14: ["EFAULT", "bad address"],
  19: ["ENODEV", "the key type is not known to this kernel"],
  20: ["ENOTDIR", "the key is not a keyring"],
  22: ["EINVAL", "the kernel refuses the payload, description or argument"],
  38: ["ENOSYS", "this kernel has no key management"],
  88: ["ENOTSOCK", "not a socket"],
  95: ["EOPNOTSUPP", "the key type does not support it"],
  122: ["EDQUOT", "the key quota of this user is used up (see /proc/key-users)"],
  126: ["ENOKEY", "required key not available"],
  127: ["EKEYEXPIRED", "the key has expired"],
  128: ["EKEYREVOKED", "the key has been revoked"],
  129: ["EKEYREJECTED", "the key was rejected by the service"],
} as const satisfies Record<number, readonly [string, string]>;

export type ErrnoName = (typeof meanings)[keyof typeof meanings][0];

/** @returns the symbolic name, or `errno N` for one keyrings do not give */
export function errnoName(errno: number): ErrnoName | `errno ${number}` {
  return errno in meanings ? meanings[errno as keyof typeof meanings][0] : `errno ${errno}`;
}

/** @returns the name and its meaning in words */
export function errnoText(errno: number): string {
  return errno in meanings ? meanings[errno as keyof typeof meanings].join(": ") : `errno ${errno}`;
}
