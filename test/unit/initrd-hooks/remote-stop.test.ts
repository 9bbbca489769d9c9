import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
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

test("what still waits for its network is ended with all that it has started, and nobody else", async () => {
  const endFamily = functionOf("latchkey_end_family", "functions.sh");
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
  const ended = Bun.spawnSync(["sh", "-c", `${endFamily}latchkey_end_family ${server.pid}`]);
  expect(ended.exitCode).toBe(0);
  await server.exited;
  for (const processId of below) expect(await gone(processId)).toBe(true);
  expect(processIsAlive(other.pid)).toBe(true);
});

test.each([
  ["of nobody yet", [], undefined, 1],
  ["that another script has brought up", ["net-eth0.conf"], undefined, 0],
  ["that latchkey has brought up for a token", ["net-eth0.conf"], "network", 1],
] as const)("a network %s is told from somebody else's, which stays up", (_, files, ours, status) => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-network-"));
  for (const file of files) writeFileSync(join(folder, file), "");
  if (ours !== undefined) mkdirSync(join(folder, ours));
  const isTheirs = functionOf("latchkey_network_is_theirs", "functions.sh").replace("/run/net-", `${folder}/net-`);
  expect(isTheirs).toContain(folder);
  const script = `latchkey_network=${folder}/network\n${isTheirs}latchkey_network_is_theirs`;
  expect(Bun.spawnSync(["sh", "-c", script]).exitCode).toBe(status);
  rmSync(folder, { recursive: true });
});

test("a network that not systemd-networkd has brought up is not taken down", () => {
  const script = join(hooks, "../dracut/latchkey-remote-network.sh");
  const without = { LATCHKEY_NETWORKD: "/nonexistent", PATH: "/usr/bin:/bin" };
  const trace = (env: Record<string, string>) =>
    Bun.spawnSync(["dash", "-x", script, "down"], { env }).stderr.toString();
  expect(trace(without)).not.toContain("network-down");
  expect(trace({ ...without, LATCHKEY_NETWORKD: "/bin/sh" })).toContain("latchkey network-down");
});
