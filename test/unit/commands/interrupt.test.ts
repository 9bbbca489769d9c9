import { expect, test } from "bun:test";
import { join } from "node:path";

/** What the program says when it is sent these signals, each after the line that stands before it. */
async function interrupted(tidyingUp: number, signals: readonly (readonly [string, NodeJS.Signals])[]) {
  await using child = Bun.spawn([process.execPath, join(import.meta.dir, "interrupted-program.ts"), `${tidyingUp}`], {
    stdio: ["ignore", "pipe", "inherit"],
    timeout: 30_000,
  });
  let said = "";
  const left = [...signals];
  for await (const bytes of child.stdout) {
    said += new TextDecoder().decode(bytes);
    const [next] = left;
    if (!next || !said.includes(next[0])) continue;
    child.kill(next[1]);
    left.shift();
  }
  await child.exited;
  return { said: said.trim().split("\n"), status: child.exitCode, signal: child.signalCode };
}

const HOUR = 3_600_000;

test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("%s lets the program end its work and tidy up", async (signal) => {
  expect(await interrupted(50, [["working", signal]])).toEqual({
    said: ["working", "stopping", "stopped", "left"],
    status: 0,
    signal: null,
  });
});

test("a second one ends it at once, tidily", async () => {
  const ended = await interrupted(HOUR, [
    ["working", "SIGTERM"],
    ["stopping", "SIGINT"],
  ]);
  expect(ended).toEqual({ said: ["working", "stopping", "left"], status: 130, signal: null });
});
