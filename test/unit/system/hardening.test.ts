import { expect, test } from "bun:test";
import { join } from "node:path";

const module = join(import.meta.dir, "../../../src/system/hardening.ts");

/** In a process of its own, since what it does cannot be undone. */
function inChild(script: string): { readonly output: string; readonly signal: unknown } {
  const child = Bun.spawnSync([process.execPath, "-e", `const hardening = await import("${module}");\n${script}`]);
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
