import { describe, expect, test } from "bun:test";
import { type DamagedCase, manifest } from "../providers/bcachefs/fixtures.ts";
import { type Outcome, Sandbox, whyNoKeys, whyNoSandbox } from "./sandbox.ts";

/** Bytes. Run from its sources; the compiled program takes less. */
const MOST_MEMORY = 100e6;

/** What `inspect` can show although no passphrase can be tried. */
const shown: Readonly<Record<string, RegExp>> = {
  "kdf-type-5": /^encryption +.*key derivation/m,
  "scrypt-n0": /^encryption +passphrase, but it cannot be tried: .*N=2\^0 /m,
  "scrypt-n-huge": /^encryption +passphrase, but it cannot be tried: .*N=2\^40 /m,
  "scrypt-n63": /^encryption +passphrase, but it cannot be tried: .*N=2\^63 /m,
  "scrypt-n65535": /^encryption +passphrase, but it cannot be tried: .*N=2\^65535 /m,
  "scrypt-r-huge": /^encryption +passphrase, but it cannot be tried: .*r=2\^28 /m,
  "scrypt-rp-limit": /^encryption +passphrase, but it cannot be tried: .*r=2\^15 p=2\^16/m,
  "scrypt-p-huge": /^encryption +passphrase, but it cannot be tried: .*p=2\^26/m,
};

/** For the one that is a member of two. */
const alone = `[policy]
allow_degraded = true

[volumes.member]
kind = "bcachefs"
device = "/run/disks/disk.img"
`;

function machineWith(fixture: DamagedCase): Sandbox {
  const sandbox = new Sandbox();
  sandbox.image(fixture.file, "disk.img");
  sandbox.file("passphrase", fixture.passphrase);
  sandbox.file("alone.toml", alone);
  return sandbox;
}

async function run(fixture: DamagedCase, ...argv: readonly string[]): Promise<Outcome> {
  using sandbox = machineWith(fixture);
  return await sandbox.run(argv);
}

function expectOneError({ stdout, stderr, status, peakMemory }: Outcome, expected: number): void {
  expect({ stdout, stderr, status }).toEqual({
    stdout: "",
    stderr: expect.stringMatching(/^latchkey: error: bcachefs\/[a-z-]+: .*disk\.img.*\n(?:latchkey: hint: .*\n)?$/),
    status: expected,
  });
  expect(peakMemory).toBeGreaterThan(0);
  expect(peakMemory).toBeLessThan(MOST_MEMORY);
}

const rejected = manifest.damaged.filter((fixture) => fixture.expect === "reject");
const wrong = manifest.damaged.filter((fixture) => fixture.expect === "wrong-passphrase");
const opened = manifest.damaged.filter((fixture) => fixture.expect === "unlock");

const whyNot = whyNoSandbox === undefined ? "" : ` (skipped: ${whyNoSandbox})`;
describe.skipIf(whyNoSandbox !== undefined)(`damaged images on the command line${whyNot}`, () => {
  test.each(rejected)(
    "unlock rejects $name in one line: $reason",
    async (fixture) => {
      expectOneError(await run(fixture, "unlock", "./disk.img", "--passphrase-file", "passphrase"), 1);
    },
    60_000,
  );

  test.each(rejected)(
    "inspect has one line, or shows what is wrong with $name",
    async (fixture) => {
      const outcome = await run(fixture, "inspect", "./disk.img");
      const facts = shown[fixture.name];
      if (!facts) return expectOneError(outcome, 1);
      expect(outcome).toMatchObject({ stdout: expect.stringMatching(facts), stderr: "", status: 0 });
      expect(outcome.peakMemory).toBeLessThan(MOST_MEMORY);
    },
    60_000,
  );

  test.each(wrong)(
    "unlock takes $name for a wrong passphrase: $reason",
    async (fixture) => {
      expectOneError(await run(fixture, "unlock", "./disk.img", "--passphrase-file", "passphrase"), 2);
    },
    60_000,
  );

  test.skipIf(whyNoKeys !== undefined).each(opened)(
    `unlock opens $name: $reason${whyNoKeys === undefined ? "" : ` (skipped: ${whyNoKeys})`}`,
    async (fixture) => {
      using sandbox = machineWith(fixture);
      const argv =
        fixture.name === "stale-primary" ? ["unlock", "member", "--config", "alone.toml"] : ["unlock", "./disk.img"];
      const outcome = await sandbox.run([...argv, "--passphrase-file", "passphrase"]);
      expect(outcome).toMatchObject({
        stdout: expect.stringContaining(" opened by passphrase file\n"),
        // A member of two, on its own.
        stderr: fixture.name === "stale-primary" ? expect.stringContaining("is not there") : "",
        status: 0,
      });
      expect(outcome.peakMemory).toBeLessThan(MOST_MEMORY);
      expect(sandbox.keyLeft(fixture.external_uuid ?? "")).toBe(fixture.passphrase_key_hex);
    },
    60_000,
  );
});
