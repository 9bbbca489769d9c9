import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { writtenRanges } from "../../../src/system/hardening.ts";

const module = join(import.meta.dir, "../../../src/system/hardening.ts");

const secrets = join(import.meta.dir, "../../../src/system/secret-bytes.ts");

/** In a process of its own, since what it does cannot be undone. */
function inChild(
  script: string,
  before: readonly string[] = [],
): { readonly output: string; readonly signal: unknown } {
  const command = [...before, process.execPath, "-e", `const hardening = await import("${module}");\n${script}`];
  const child = Bun.spawnSync(command);
  return { output: child.stdout.toString().trim(), signal: child.signalCode };
}

test("a process that handles secrets leaves no core and cannot be looked into by its equals", () => {
  const { output } = inChild(`
    const before = (await Bun.file("/proc/self/limits").text()).match(/Max core file size.*/)[0];
    const result = hardening.hardenProcess();
    const { readFileSync, statSync } = require("node:fs");
    const limits = /Max core file size +(\\S+) +(\\S+)/.exec(readFileSync("/proc/self/limits", "utf8"));
    console.log(JSON.stringify({ ...result, core: limits.slice(1, 3), owner: statSync("/proc/self/environ").uid }));
  `);
  // Files of a process that cannot be dumped belong to root, proc(5) on /proc/PID.
  expect(JSON.parse(output)).toMatchObject({ undumpable: true, core: ["0", "0"], owner: 0 });
});

test("a process whose event loop stands still is ended by its alarm, one that turns is not", () => {
  expect(inChild("hardening.armDeadMansSwitch(1); for (;;);").signal).toBe("SIGALRM");
  const turning = inChild(`
    const disarm = hardening.armDeadMansSwitch(1);
    setTimeout(() => { disarm(); console.log("alive"); }, 1600);
  `);
  expect(turning).toEqual({ output: "alive", signal: undefined });
});

describe("memory that is locked", () => {
  const mapping = (range: string, permissions: string, name = "") =>
    `${range} ${permissions} 00000000 fe:00 338 ${name}`;

  test.each([
    ["what is written", [mapping("1000-3000", "rw-p")], [[0x1000, 0x3000]]],
    ["what may be written some day", [mapping("1000-3000", "---p")], [[0x1000, 0x3000]]],
    ["code that is made at run time", [mapping("1000-3000", "rwxp")], [[0x1000, 0x3000]]],
    ["not a file that is only read or run", [mapping("1000-3000", "r--p", "/a b"), mapping("3000-4000", "r-xp")], []],
    ["not the kernel's page that is only called", [mapping("ffffffffff600000-ffffffffff601000", "--xp")], []],
    [
      "neighbours at once",
      [mapping("1000-3000", "rw-p"), mapping("3000-4000", "---p"), mapping("5000-6000", "rw-p")],
      [
        [0x1000, 0x4000],
        [0x5000, 0x6000],
      ],
    ],
    ["in the highest places", [mapping("7ffff7a00000-7ffff7b00000", "rw-p")], [[0x7ffff7a00000, 0x7ffff7b00000]]],
  ] as const)("is %s", (_what, lines, expected) => {
    const ranges = writtenRanges(`${lines.join("\n")}\n`);
    expect(ranges.map(({ start, end }) => [start, end])).toEqual(expected.map(([start, end]) => [start, end]));
  });

  const isRoot = process.getuid?.() === 0;

  test.skipIf(!isRoot)("is all that the process writes, now and later (skipped: not root)", () => {
    const { output } = inChild(`
      const { readFileSync } = require("node:fs");
      const { memoryLocked } = hardening.hardenProcess();
      const held = []; // the heap grows
      for (let index = 0; index < 300_000; index += 1) held.push({ index });
      const large = new Uint8Array(32 * 1024 * 1024).fill(1);
      const unlocked = [];
      for (const one of readFileSync("/proc/self/smaps", "utf8").split(/\\n(?=[0-9a-f]+-[0-9a-f]+ )/)) {
        const [, permissions, name] = /^\\S+ (\\S+) \\S+ \\S+ \\S+ *(.*)/.exec(one);
        const flags = /^VmFlags: (.*)$/m.exec(one)[1].split(" ");
        const isLocked = flags.includes("lo");
        if (permissions.startsWith("rw") && !isLocked) unlocked.push(one.split("\\n")[0]);
      }
      const locked = Number(/VmLck:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]);
      console.log(JSON.stringify({ memoryLocked, unlocked, isLarge: locked > 32 * 1024, held: held.length + large.length > 0 }));
    `);
    expect(JSON.parse(output)).toEqual({ memoryLocked: true, unlocked: [], isLarge: true, held: true });
  });

  const canDrop = isRoot && Bun.which("setpriv") !== null;

  test.skipIf(!canDrop)(
    "is none without the right to it, and the process goes on (skipped: not root, or no setpriv)",
    () => {
      const without = ["prlimit", "--memlock=65536", "setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"];
      const { output } = inChild(
        `
      const { memoryLocked } = hardening.hardenProcess();
      const { SecretBytes } = await import("${secrets}");
      using secret = SecretBytes.allocate(1024 * 1024); // more than may be locked
      console.log(JSON.stringify({ memoryLocked, bytes: secret.length }));
    `,
        without,
      );
      expect(JSON.parse(output)).toEqual({ memoryLocked: false, bytes: 1024 * 1024 });
    },
  );
});
