import { afterEach, describe, expect, test } from "bun:test";
import { errnoName, errnoText } from "../../../src/keyutils-ffi/errno.ts";
import { KeyringError, kernelKeyring as keyring } from "../../../src/keyutils-ffi/keyring.ts";
import { SecretBytes } from "../../../src/system/secret-bytes.ts";

const description = `latchkey-test:${process.pid}`;
const payload = () => SecretBytes.take(new Uint8Array([1, 0, 255, 10, 200]));

function errnoOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof KeyringError) return error.errno;
    throw error;
  }
  return "no error";
}

afterEach(() => {
  const left = keyring.search("process", "user", description);
  if (left !== undefined) keyring.unlink(left, "process");
});

// The process keyring is ours alone and gone with the process, so these need no root and leave nothing behind.
describe("against the real kernel", () => {
  test("a key that was added is found, described and read back byte for byte", () => {
    using secret = payload();
    const key = keyring.addKey("user", description, secret, "process");
    expect(keyring.search("process", "user", description)).toBe(key);
    expect(keyring.requestKey("user", description)).toBe(key);
    using read = keyring.read(key);
    expect(read.equals(secret)).toBe(true);
    expect(keyring.describe(key)).toMatchObject({ type: "user", uid: process.getuid?.() ?? -1, description });
  });

  test("adding the same description again updates the payload and keeps the serial number", () => {
    using first = payload();
    using second = SecretBytes.take(new Uint8Array([9, 9]));
    const key = keyring.addKey("user", description, first, "process");
    expect(keyring.addKey("user", description, second, "process")).toBe(key);
    using read = keyring.read(key);
    expect(read.equals(second)).toBe(true);
  });

  test("a key that is not there is an answer, not an error", () => {
    expect(keyring.search("process", "user", `${description}:absent`)).toBeUndefined();
    expect(keyring.requestKey("user", `${description}:absent`)).toBeUndefined();
  });

  test("unlinking and invalidating take it away", () => {
    using secret = payload();
    keyring.unlink(keyring.addKey("user", description, secret, "process"), "process");
    expect(keyring.search("process", "user", description)).toBeUndefined();
    keyring.invalidate(keyring.addKey("user", description, secret, "process"));
    expect(keyring.requestKey("user", description)).toBeUndefined();
  });

  test("a timeout makes the key expire", async () => {
    using secret = payload();
    const key = keyring.addKey("user", description, secret, "process");
    keyring.setTimeout(key, 1);
    await Bun.sleep(1200);
    expect(["EKEYEXPIRED", "ENOKEY"]).toContain(errnoOf(() => keyring.describe(key)));
    expect(keyring.search("process", "user", description)).toBeUndefined();
    keyring.unlink(key, "process");
  });

  test("linking a keyring makes its keys reachable through the other", () => {
    using secret = payload();
    const key = keyring.addKey("user", description, secret, "thread");
    try {
      keyring.link("thread", "process");
      expect(keyring.search("process", "user", description)).toBe(key);
      keyring.unlink("thread", "process");
    } finally {
      keyring.unlink(key, "thread");
    }
  });

  test("refusals carry the kernel's own name of the error", () => {
    expect(errnoOf(() => keyring.describe(0x7ffffff0))).toBe("ENOKEY");
    using secret = payload();
    const key = keyring.addKey("user", description, secret, "process");
    expect(errnoOf(() => keyring.link("process", key))).toBe("ENOTDIR");
  });

  test("payloads and descriptions the kernel cannot take are refused before the call", () => {
    using empty = SecretBytes.allocate(0);
    expect(() => keyring.addKey("user", description, empty, "process")).toThrow("1 to 32767 bytes");
    using large = SecretBytes.allocate(32768);
    expect(() => keyring.addKey("user", description, large, "process")).toThrow("1 to 32767 bytes");
    using secret = payload();
    expect(() => keyring.addKey("user", "x".repeat(5000), secret, "process")).toThrow("4095 bytes");
  });

  test("asking for a keyring that does not exist creates none", () => {
    expect(["number", "undefined"]).toContain(typeof keyring.keyringId("user"));
  });
});

test("errno numbers have the names of keyctl(2)", () => {
  expect([126, 122, 13, 127, 128, 38, 77].map(errnoName)).toEqual([
    "ENOKEY",
    "EDQUOT",
    "EACCES",
    "EKEYEXPIRED",
    "EKEYREVOKED",
    "ENOSYS",
    "errno 77",
  ]);
  expect(errnoText(126)).toBe("ENOKEY: required key not available");
});
