import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { processIsAlive } from "../../../src/system/ask-password/foreign-questions.ts";

const hooks = join(import.meta.dir, "../../../initrd-hooks/initramfs-tools");
const functionOf = (name: string, script: string): string =>
  new RegExp(`^${name}\\(\\) \\{\\n[\\s\\S]*?^\\}\\n`, "m").exec(readFileSync(join(hooks, script), "utf8"))?.[0] ?? "";

async function gone(processId: number): Promise<boolean> {
  for (let tries = 0; tries < 200; tries += 1) {
    if (!processIsAlive(processId)) return true;
    await Bun.sleep(10);
  }
  return false;
}

test.each([
  ["a server", "end_family", "remote-stop.sh"],
  ["what was brought up for tokens", "latchkey_end_family", "functions.sh"],
])("%s that still waits for its network is ended with all that it has started, and nobody else", async (...about) => {
  const [, name, file] = about;
  const endFamily = functionOf(name, file);
  expect(endFamily).not.toBe("");
  await using other = Bun.spawn(["sleep", "600"]);
  // A script with a script below it, each with a program of its own, as configure_networking is.
  const waiting = "sh -c 'sleep 600 & echo $!; wait' & sleep 600 & echo $!; wait";
  await using server = Bun.spawn(["sh", "-c", waiting], { stdout: "pipe" });
  const reader = server.stdout.getReader();
  let said = "";
  while (said.split("\n").length < 3) said += new TextDecoder().decode((await reader.read()).value);
  const below = said.trim().split("\n").map(Number);
  expect(below.length).toBe(2);
  const ended = Bun.spawnSync(["sh", "-c", `${endFamily}${name} ${server.pid}`]);
  expect(ended.exitCode).toBe(0);
  await server.exited;
  for (const processId of below) expect(await gone(processId)).toBe(true);
  expect(processIsAlive(other.pid)).toBe(true);
});
