import { describe, expect, test } from "bun:test";
import { chmodSync, closeSync, openSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TestAgent } from "./agent.ts";
import { Pty } from "./pty.ts";

const program = join(import.meta.dir, "forgetting-program.ts");

/** Every place in a process's readable memory that holds the bytes, /proc/pid/mem. */
function findInMemory(pid: number, needle: Buffer): string[] {
  const found: string[] = [];
  const fd = openSync(`/proc/${pid}/mem`, "r");
  const buffer = Buffer.alloc(4 * 1024 * 1024);
  for (const line of readFileSync(`/proc/${pid}/maps`, "utf8").split("\n")) {
    const [, from = "0", to = "0"] = /^([0-9a-f]+)-([0-9a-f]+) r/.exec(line) ?? [];
    const end = Number.parseInt(to, 16);
    for (let at = Number.parseInt(from, 16); at < end; at += buffer.length - needle.length) {
      try {
        const length = readSync(fd, buffer, 0, Math.min(buffer.length, end - at), at);
        if (buffer.subarray(0, length).includes(needle)) found.push(line);
      } catch {
        break; // a hole, or the kernel's own pages
      }
    }
  }
  closeSync(fd);
  return found;
}

async function firstLine(child: Bun.Subprocess<"ignore", "pipe", "inherit">): Promise<string> {
  for await (const chunk of child.stdout) return new TextDecoder().decode(chunk);
  return "";
}

const start = (...argv: string[]) =>
  Bun.spawn([process.execPath, program, ...argv], { stdin: "ignore", stdout: "pipe", stderr: "inherit" });

describe("after the answer was wiped, the process that asked holds no copy of it", () => {
  const passphrase = `${crypto.randomUUID()} horse`;
  const needle = Buffer.from(passphrase.slice(2, 30)); // without its ends, should those be overwritten alone

  test("the search finds what is there", () => {
    expect(findInMemory(process.pid, needle)).not.toEqual([]);
  });

  test("asked through agents", async () => {
    using agent = new TestAgent();
    await using child = start("agents", agent.folder);
    agent.send(await agent.sees("Passphrase"), `+${passphrase}\0`);
    expect(await firstLine(child)).toBe(`${passphrase.length} bytes\n`);
    expect(findInMemory(child.pid, needle)).toEqual([]);
  });

  test("asked on a terminal", async () => {
    using pty = new Pty();
    await using child = start("console", pty.path);
    await pty.shows("Passphrase: ");
    pty.type(`${passphrase}\r`);
    expect(await firstLine(child)).toBe(`${passphrase.length} bytes\n`);
    expect(findInMemory(child.pid, needle)).toEqual([]);
  });

  test("asked through askpass", async () => {
    using agent = new TestAgent();
    using pty = new Pty();
    const stub = join(agent.folder, "stub-askpass");
    writeFileSync(stub, '#!/bin/sh\nprintf %s "$1" >&2\nIFS= read -r line\nprintf %s "$line"\n');
    chmodSync(stub, 0o755);
    await using child = start("askpass", pty.path, stub, join(agent.folder, "fifo"));
    await pty.shows("Passphrase: ");
    pty.type(`${passphrase}\r`);
    expect(await firstLine(child)).toBe(`${passphrase.length} bytes\n`);
    expect(findInMemory(child.pid, needle)).toEqual([]);
  });
});
