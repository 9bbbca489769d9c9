import { afterAll, expect, test } from "bun:test";
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readSome, writeSome } from "../../../src/system/descriptor.ts";

const folder = mkdtempSync(join(tmpdir(), "latchkey-descriptor-"));
afterAll(() => rmSync(folder, { recursive: true }));

function opened<T>(path: string, flags: number, work: (descriptor: number) => T): T {
  const descriptor = openSync(path, flags, 0o600);
  try {
    return work(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

test("what is written is read, as far as there is room, and then comes the end", () => {
  const file = join(folder, "file");
  const text = new TextEncoder().encode("a token");
  expect(opened(file, constants.O_WRONLY | constants.O_CREAT, (to) => writeSome(to, text))).toEqual({ bytes: 7 });
  expect(readFileSync(file, "utf8")).toBe("a token");
  opened(file, constants.O_RDONLY, (from) => {
    const room = new Uint8Array(5);
    expect(readSome(from, room)).toEqual({ bytes: 5 });
    expect(new TextDecoder().decode(room)).toBe("a tok");
    expect(readSome(from, room.subarray(1))).toEqual({ bytes: 2 });
    expect(new TextDecoder().decode(room)).toBe("aenok");
    expect(readSome(from, room)).toEqual({ bytes: 0 });
  });
});

test("an error is told by its name", () => {
  const room = new Uint8Array(1);
  expect(opened(folder, constants.O_RDONLY, (from) => readSome(from, room))).toEqual({ errno: "EISDIR" });
  expect(opened("/dev/full", constants.O_WRONLY, (to) => writeSome(to, room))).toEqual({ errno: "ENOSPC" });
  expect(readSome(1_000_000, room)).toEqual({ errno: "EBADF" });
});

test("a pipe that does not block says when it is empty and when it is full", () => {
  const pipe = join(folder, "pipe");
  Bun.spawnSync(["mkfifo", pipe]);
  opened(pipe, constants.O_RDWR | constants.O_NONBLOCK, (both) => {
    const room = new Uint8Array(65_536);
    expect(readSome(both, room)).toEqual({ errno: "EAGAIN" });
    expect(writeSome(both, room)).toEqual({ bytes: 65_536 });
    expect(writeSome(both, room)).toEqual({ errno: "EAGAIN" });
  });
});
