import { describe, expect, test } from "bun:test";
import { chmodSync, closeSync, openSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TestAgent } from "./agent.ts";
import { Pty } from "./pty.ts";

const program = join(import.meta.dir, "forgetting-program.ts");

const PAGE = 4096;

/** Every place in a process's own memory that holds the bytes, by proc_pid_maps(5), proc_pid_pagemap(5) and proc_pid_mem(5). */
function findInMemory(pid: number, needle: Buffer): string[] {
  const found: string[] = [];
  const memory = openSync(`/proc/${pid}/mem`, "r");
  const pagemap = openSync(`/proc/${pid}/pagemap`, "r");
  for (const [place, from = "0", to = "0"] of readFileSync(`/proc/${pid}/maps`, "utf8").matchAll(
    /^(\w+)-(\w+) rw.*$/gm,
  )) {
    for (const [first, count] of presentPages(
      pagemap,
      Number.parseInt(from, 16) / PAGE,
      Number.parseInt(to, 16) / PAGE,
    )) {
      const run = Buffer.alloc(count * PAGE);
      const length = readSync(memory, run, 0, run.length, first * PAGE);
      if (run.subarray(0, length).includes(needle)) found.push(place);
      run.fill(0);
    }
  }
  closeSync(pagemap);
  closeSync(memory);
  return found;
}

/** Runs of pages that hold anything: address space that was only reserved is left out, or there would be gigabytes. */
function* presentPages(pagemap: number, from: number, to: number): Generator<readonly [first: number, count: number]> {
  const entries = new Uint32Array(2 * 65536); // two words a page; the top bit of the second says "present"
  let first = from;
  let count = 0;
  for (let page = from; page < to; page += entries.length / 2) {
    const pages = Math.min(entries.length / 2, to - page);
    readSync(pagemap, new Uint8Array(entries.buffer), 0, pages * 8, page * 8);
    for (let index = 0; index < pages; index++) {
      if ((entries[2 * index + 1] ?? 0) >>> 31 === 1) {
        if (count === 0) first = page + index;
        count += 1;
      } else if (count > 0) {
        yield [first, count];
        count = 0;
      }
    }
  }
  if (count > 0) yield [first, count];
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
