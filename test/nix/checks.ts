import { expect } from "bun:test";
import { loadPlan } from "../../src/config/load.ts";

/** What a file of cases/ says of one thing; each kind has its own test. */
export type Check =
  | { readonly got: unknown; readonly want: unknown }
  | { readonly text: string; readonly has: readonly string[] }
  | { readonly text: string; readonly lacks: readonly string[] }
  | { readonly rejected: boolean }
  | { readonly accepted: boolean }
  /** Messages of failed assertions, and the only one there may be. */
  | { readonly failed: readonly string[]; readonly sentence: string }
  | { readonly failed: readonly string[]; readonly among: string }
  /** A configuration file, which latchkey itself must take. */
  | { readonly toml: string; readonly plan: "initrd" | "system" }
  | { readonly python: string };

/** Python's own word on a script; undefined where there is no Python. */
function pythonComplaint(script: string): string | undefined {
  const program = 'import sys; compile(sys.stdin.read(), "testScript", "exec")';
  const child = Bun.spawnSync(["python3", "-c", program], { stdin: new TextEncoder().encode(script) });
  return child.exitCode === 0 ? "" : child.stderr.toString();
}

export function verify(check: Check): void {
  if ("want" in check) expect(check.got).toEqual(check.want);
  else if ("has" in check) for (const line of check.has) expect(check.text).toContain(line);
  else if ("lacks" in check) for (const line of check.lacks) expect(check.text).not.toContain(line);
  else if ("rejected" in check) expect(check.rejected).toBe(true);
  else if ("accepted" in check) expect(check.accepted).toBe(true);
  else if ("sentence" in check) expect(check.failed).toEqual([check.sentence]);
  else if ("among" in check) expect(check.failed).toContain(check.among);
  else if ("toml" in check) verifyPlan(check.toml, check.plan);
  else expect(pythonComplaint(check.python)).toBe("");
}

/** The file of the check "all options arrive": strict, so that a key latchkey does not know is an error. */
function verifyPlan(toml: string, place: "initrd" | "system"): void {
  const plan = loadPlan({
    mode: "strict",
    configFile: "/latchkey.toml",
    read: (path) => (path === "/latchkey.toml" ? toml : undefined),
    list: () => [],
    kernelCommandLine: "",
  });
  const token = place === "initrd" ? "/etc/latchkey/root.jwe" : "/persist/etc/latchkey/root.jwe";
  expect(plan).toMatchObject({
    promptAfter: 5000,
    deviceTimeout: 180_000,
    memberTimeout: 90_000,
    tpm: "device:/dev/tpmrm1",
    policy: { requireEncrypted: true, allowDegraded: false, sealPcrAfterUnlock: 15 },
    pools: [{ name: "both", volumes: ["root", "crypt"] }],
    warnings: [],
  });
  const names = place === "initrd" ? ["crypt", "root"] : ["crypt", "data", "root"];
  expect(plan.volumes.map(({ name }) => name).toSorted()).toEqual(names);
  const root = plan.volumes.find(({ name }) => name === "root");
  expect(root?.sources.map(({ kind }) => kind)).toEqual(["clevis", "usb", "prompt"]);
  expect(root?.sources[0]).toMatchObject({ kind: "clevis", token, timeout: 30_000 });
  expect(plan.volumes.find(({ name }) => name === "crypt")).toMatchObject({ kind: "luks", luks: { keySlot: 1 } });
}
