import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { parseReport } from "../../../src/unlock/report-file.ts";
import { fixtureCase } from "../providers/bcachefs/fixtures.ts";
import { Sandbox, whyNoKeys, whyNoSandbox } from "./sandbox.ts";

/** Milliseconds: a machine may be busy with virtual machines. */
setDefaultTimeout(60_000);

const configuration = `prompt_after = "1s"
[volumes.d]
kind = "bcachefs"
device = "/run/disks/default.img"
[volumes.p]
kind = "bcachefs"
device = "/run/disks/plain.img"
`;

const { passphrase = "", external_uuid: uuid, passphrase_key_hex: key = "" } = fixtureCase("default");

function machine(): Sandbox {
  const sandbox = new Sandbox();
  for (const name of ["default", "plain"]) sandbox.image(`cases/${name}.img.zst`, `${name}.img`);
  sandbox.file("/etc/latchkey/latchkey.toml", configuration);
  sandbox.file("right", passphrase);
  sandbox.file("wrong", "x");
  return sandbox;
}

async function json(argv: readonly string[]): Promise<{ facts: unknown; stderr: string; status: number }> {
  using sandbox = machine();
  const { stdout, stderr, status } = await sandbox.run([...argv, "--json"]);
  expect(stdout).not.toContain(passphrase);
  expect(stdout).not.toContain(key);
  return { facts: JSON.parse(stdout), stderr, status };
}

const whyNot = whyNoSandbox === undefined ? "" : ` (skipped: ${whyNoSandbox})`;
describe.skipIf(whyNoSandbox !== undefined)(`--json prints one JSON value and nothing else${whyNot}`, () => {
  test("unlock --dry-run: the plan", async () => {
    const { facts, stderr, status } = await json(["unlock", "d", "--dry-run"]);
    expect(facts).toMatchObject({
      schema: 1,
      prompt_after_ms: 1000,
      volumes: [{ name: "d", devices: ["/run/disks/default.img"], sources: ["prompt"], require_encrypted: true }],
      root_mount: null,
      left_to_system: [],
    });
    expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
  });

  test("unlock with a wrong passphrase: a report, with the error on standard error", async () => {
    const { facts, stderr, status } = await json(["unlock", "d", "--passphrase-file", "wrong"]);
    expect(parseReport(JSON.stringify(facts), "the report")).toMatchObject({
      outcome: "wrong-credential",
      volumes: [{ name: "d", standing: "failed", error: { code: "bcachefs/wrong-passphrase" } }],
      attempts: [{ volume: "d", source: "passphrase file", verdict: "wrong-credential" }],
    });
    expect(stderr).toStartWith("latchkey: error: bcachefs/wrong-passphrase: d: ");
    expect(status).toBe(2);
  });

  test.skipIf(whyNoKeys !== undefined)("unlock with the right one: a report", async () => {
    const { facts, stderr, status } = await json(["unlock", "d", "--passphrase-file", "right"]);
    expect(parseReport(JSON.stringify(facts), "the report")).toMatchObject({
      outcome: "done",
      volumes: [{ name: "d", uuid, standing: "opened", opened_by: "passphrase file", error: null }],
    });
    expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
  });

  test("verify: a verdict for each volume", async () => {
    const { facts, status } = await json(["verify", "d", "p", "./nowhere.img", "--passphrase-file", "right"]);
    expect(facts).toMatchObject([
      { volume: "d", accepted: true, error: null },
      { volume: "p", accepted: false, error: { code: "unlock/not-encrypted" } },
      { volume: "./nowhere.img", accepted: false, error: { code: "bcachefs/device-missing" } },
    ]);
    expect(status).toBe(1);
  });

  test("status: each volume with its state", async () => {
    const { facts, stderr, status } = await json(["status"]);
    expect(facts).toMatchObject({
      volumes: [
        { name: "d", state: "closed", uuid, devices: ["/run/disks/default.img"], error: null },
        { name: "p", state: "unencrypted", error: null },
      ],
      left_to_system: [],
    });
    expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
  });

  test("inspect: what lies in clear", async () => {
    const { facts, stderr, status } = await json(["inspect", "./default.img"]);
    expect(facts).toMatchObject({
      kind: "bcachefs",
      device: "/run/disks/default.img",
      uuid,
      label: "",
      version: "1.13",
    });
    expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
  });

  test("report: the whole report, through a pipe that is read slowly", async () => {
    using sandbox = machine();
    const event = { at_ms: 1, volume: null, source: null, text: "x".repeat(200) };
    const report = { schema: 1, version: "1", build: "b", started_ms: 1, finished_ms: 2, outcome: "done" };
    const lists = { volumes: [], attempts: [], events: Array.from({ length: 1000 }, () => event), warnings: [] };
    sandbox.file("report.json", JSON.stringify({ ...report, ...lists }));
    const { stdout, status } = await sandbox.run(["report", "--file", "report.json", "--json"], { isReadSlowly: true });
    expect(JSON.parse(stdout)).toEqual({ ...report, ...lists });
    expect(status).toBe(0);
  }, 30_000);
});
