import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, cpSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { LUKS_PASSPHRASE, LuksFile, whyNoLuks } from "../enroll/scene.ts";
import { manifest } from "../providers/bcachefs/fixtures.ts";
import { Pty } from "../sources/prompt/pty.ts";
import { startSwtpm, swtpmMissing } from "../tpm2/swtpm.ts";
import { DISKS, Sandbox, whyNoSandbox } from "./sandbox.ts";

// Each run derives a key twice at least, 0.4 s each, on a busy machine ten times that.
setDefaultTimeout(240_000);

const PASSPHRASE = "correct horse battery staple";

const configuration = `[volumes.root]
kind = "bcachefs"
device = "${DISKS}/default.img"
sources = ["clevis", "prompt"]
clevis = { token = "${DISKS}/tokens/root.jwe" }
[volumes.other]
kind = "bcachefs"
device = "${DISKS}/label.img"
[pools.data]
volumes = ["root", "other"]
`;

/** A machine with a bcachefs that the configuration names root, and one that it names other. */
function machine(): Sandbox {
  const sandbox = new Sandbox();
  for (const name of ["default", "label"]) sandbox.image(fixtureImage(name), `${name}.img`);
  sandbox.file("passphrase", `${PASSPHRASE}\n`);
  sandbox.file("wrong", "wrong\n");
  sandbox.file("/etc/latchkey/latchkey.toml", configuration);
  return sandbox;
}

function fixtureImage(name: string): string {
  const found = manifest.cases.flatMap(({ devices }) => devices).find((device) => device.name === name);
  return found?.image ?? "";
}

const whyNot = whyNoSandbox ?? swtpmMissing ?? whyNoLuks;
const skipped = whyNot === undefined ? "" : ` (skipped: ${whyNot})`;

describe.skipIf(whyNot !== undefined)(`latchkey enroll${skipped}`, () => {
  test("tpm2 says what it does, writes the token where the configuration has it, and what is next", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using sandbox = machine();
    const argv = ["enroll", "tpm2", "root", "--passphrase-file", "passphrase", "--tpm", swtpm.tcti];
    const { stdout, stderr, status } = await sandbox.run(argv);
    expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
    const lines = stdout
      .trimEnd()
      .split("\n")
      .filter((line) => !line.startsWith("note: "));
    expect(lines).toEqual([
      `take the passphrase of root from passphrase, and prove it on bcachefs on ${DISKS}/default.img`,
      "seal it to this machine's TPM, PCR 7",
      "open the new token again",
      `prove what came out of it on bcachefs on ${DISKS}/default.img`,
      `write ${DISKS}/tokens/root.jwe`,
      "root: enrolled, and proved by opening it: tpm2: this machine's TPM, PCR 7 of bank sha256 with the values it is sealed to (key ecc, hash sha256)",
      "next: latchkey install, so that the token comes into the initrd",
    ]);
    expect(stdout).toContain("note: PCR 7 unless --pcrs says otherwise");
    expect(statSync(sandbox.path("tokens/root.jwe")).mode & 0o777).toBe(0o600);
    // What was made is what unlock, inspect and decrypt take.
    const { stdout: inspected } = await sandbox.run(["inspect", "tokens/root.jwe"]);
    expect(inspected).toContain("PCR 7 of bank sha256");
    cpSync(sandbox.path("tokens/root.jwe"), sandbox.path("token"));
    const decrypted = await sandbox.run(["decrypt", "--tpm", swtpm.tcti], { stdin: "token" });
    expect(decrypted.stdout).toBe(PASSPHRASE);
    // A second one needs a word.
    const again = await sandbox.run(argv);
    expect(again.status).toBe(4);
    expect(again.stderr).toContain("enroll/token-exists");
    const forced = await sandbox.run([...argv, "--force", "--json", "--pcrs", "7,15"]);
    const facts = JSON.parse(forced.stdout);
    expect(facts).toMatchObject({
      volume: "root",
      kind: "bcachefs",
      method: "tpm2",
      devices: [`${DISKS}/default.img`],
      token: `${DISKS}/tokens/root.jwe`,
      old_token: `${DISKS}/tokens/root.jwe.old`,
      key_slot: null,
      header_token: null,
      pin: { pin: "tpm2", pcrs: { bank: "sha256", pcrs: [7, 15] } },
      needs: { tpm: "required", network: "none", clevis: "none" },
      opened_again: true,
    });
    expect(facts.notes.join("\n")).toContain("set seal_pcr_after_unlock = 15");
    expect(forced.stdout).not.toContain(PASSPHRASE);
    expect(existsSync(sandbox.path("tokens/root.jwe.old"))).toBe(true);
  });

  test("a wrong passphrase ends with status 2, and nothing is there", async () => {
    using sandbox = machine();
    const { stderr, status } = await sandbox.run(["enroll", "tpm2", "root", "--passphrase-file", "wrong"]);
    expect(status).toBe(2);
    expect(stderr).toStartWith("latchkey: error: bcachefs/wrong-passphrase: root: ");
    expect(existsSync(sandbox.path("tokens"))).toBe(false);
  });

  test("asks at the terminal, and ctrl-C is an answer", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using sandbox = machine();
    for (const answer of [PASSPHRASE, "\x03"]) {
      using pty = new Pty();
      const settings = pty.settings();
      const running = sandbox.run(["enroll", "tpm2", "root", "--force", "--tpm", swtpm.tcti], { terminal: pty });
      await pty.shows(`Passphrase for root (bcachefs on ${DISKS}/default.img): `);
      pty.type(answer === "\x03" ? answer : `${answer}\r`);
      const { status, stderr } = await running;
      expect(status).toBe(answer === "\x03" ? 3 : 0);
      if (answer === "\x03") expect(stderr).toContain("prompt/cancelled");
      expect(pty.settings()).toBe(settings);
      expect(pty.seen()).not.toContain(PASSPHRASE);
    }
  });

  test("finds the configured volume that a device belongs to, and asks where for one that belongs to none", async () => {
    using sandbox = machine();
    const known = await sandbox.run(["enroll", "tpm2", "./default.img", "--dry-run"]);
    expect(known.stdout).toEndWith(`write ${DISKS}/tokens/root.jwe\n`);
    const label = await sandbox.run(["enroll", "tpm2", "other", "--dry-run"]);
    expect(label.stdout).toEndWith("write /etc/latchkey/other.jwe\n");
    sandbox.file("/etc/latchkey/latchkey.toml", "");
    const nameless = await sandbox.run(["enroll", "tpm2", "./default.img", "--dry-run"]);
    expect(nameless.status).toBe(64);
    expect(nameless.stderr).toContain("is no volume of the configuration");
    expect(nameless.stderr).toContain("--token");
    const named = await sandbox.run(["enroll", "tpm2", "./default.img", "--dry-run", "--token", "here.jwe"]);
    expect(named.stdout).toEndWith(`write ${DISKS}/here.jwe\n`);
  });

  test("takes LUKS2 by its name in crypttab or its device, and puts the token into the header", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using sandbox = machine();
    using disk = new LuksFile();
    cpSync(disk.image, sandbox.path("luks.img"));
    sandbox.file("luks-passphrase", LUKS_PASSPHRASE);
    sandbox.file("/etc/crypttab", `cryptroot ${DISKS}/luks.img none luks\n`);
    const options = ["--passphrase-file", "luks-passphrase", "--tpm", swtpm.tcti];
    const { stdout, stderr, status } = await sandbox.run(["enroll", "tpm2", "cryptroot", ...options]);
    expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
    expect(stdout).toContain(`write the token into the header of ${DISKS}/luks.img, as token 0 for key slot 1\n`);
    const second = await sandbox.run(["enroll", "tpm2", "./luks.img", "--json", ...options]);
    expect(JSON.parse(second.stdout)).toMatchObject({ kind: "luks2", token: null, key_slot: 2, header_token: 1 });
    const refused = await sandbox.run(["enroll", "tpm2", "cryptroot", "--token", "x", "--dry-run"]);
    expect(refused.status).toBe(64);
    expect(refused.stderr).toContain("in LUKS2 the token lies in the header");
  });

  test("recovery shows the key on the terminal alone, and the dry run shows none", async () => {
    using sandbox = machine();
    using disk = new LuksFile();
    cpSync(disk.image, sandbox.path("luks.img"));
    const dry = await sandbox.run(["enroll", "recovery", "./luks.img", "--dry-run", "--json"]);
    expect(JSON.parse(dry.stdout).steps).toContain("make a recovery key, show it once, and have it typed back");
    sandbox.file("luks-passphrase", LUKS_PASSPHRASE);
    using pty = new Pty();
    const argv = ["enroll", "recovery", "./luks.img", "--passphrase-file", "luks-passphrase"];
    const running = sandbox.run(argv, { terminal: pty });
    await pty.shows("Enter takes it off the screen");
    const [key = ""] = /[cbdefghijklnrtuv]{8}(?:-[cbdefghijklnrtuv]{8}){7}/.exec(pty.seen()) ?? [];
    pty.type("\r");
    await pty.shows("Type the recovery key");
    pty.type(`${key}\r`);
    const { stdout, stderr, status } = await running;
    expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
    expect(stdout).toContain("./luks.img: the recovery key opens it; nothing here has kept the key\nnext: ");
    expect(stdout).not.toContain(key.slice(0, 17));
    cpSync(sandbox.path("luks.img"), disk.image);
    disk.cryptsetup(["open", "--test-passphrase", "--key-slot", "1", "--key-file", "-", disk.image], key);
    const alone = await sandbox.run(argv);
    expect(alone.status).toBe(3);
    expect(alone.stderr).toContain("prompt/no-console");
  });

  test.each([
    [["recovery", "root"], 4, "enroll/one-passphrase"],
    [["tpm2", "data"], 64, "usage/invalid: data is a pool"],
    [["tpm2", "nothing"], 64, "usage/unknown-volume"],
    [["tpm2", "./luks1.img"], 1, "luks/not-luks2"],
    [["tpm2", "gone"], 3, "device/missing: gone: UUID=00000000"],
    [["tpm2", "./plain.img", "--token", "x"], 1, "bcachefs/not-encrypted"],
    [["tpm2", "root", "--passphrase-file", "a", "--key-file", "b"], 64, "usage/invalid"],
    [["tpm2", "root", "--token", "."], 1, "enroll/cannot-write"],
    [["tang", "root"], 64, "usage/invalid: required option '--url <url>'"],
    [["sss", "root", "--threshold", "2", "--tpm2"], 64, "--threshold is a number from 1"],
    [["tmp2", "root"], 64, 'there is no method tmp2 (did you mean "tpm2"?)'],
    [[], 64, "enroll needs a method"],
  ])("%j ends with status %i: %s", async (args, wanted, text) => {
    using sandbox = machine();
    sandbox.image(fixtureImage("plain"), "plain.img");
    writeFileSync(sandbox.path("luks1.img"), Uint8Array.of(0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe, 0, 1));
    sandbox.file("/etc/crypttab", "gone UUID=00000000-0000-4000-8000-000000000000 none luks\n");
    const { stdout, stderr, status } = await sandbox.run(["enroll", ...args]);
    expect(stderr).toContain(text);
    expect([stdout, status]).toEqual(["", wanted]);
  });

  test("somebody who may not write there is told before anything is asked", async () => {
    using sandbox = machine();
    chmodSync(sandbox.path("default.img"), 0o644);
    const { stderr, status } = await sandbox.run(["enroll", "tpm2", "root", "--token", "here.jwe"], {
      asNobody: true,
    });
    expect(stderr).toBe(
      `latchkey: error: enroll/cannot-write: cannot write the token ${DISKS}/here.jwe: permission denied\nlatchkey: hint: use sudo\n`,
    );
    expect(status).toBe(1);
  });

  test("nothing but the steps comes from a dry run", async () => {
    using sandbox = machine();
    const before = readFileSync(sandbox.path("default.img"));
    const argv = ["enroll", "sss", "root", "--dry-run", "--threshold", "1", "--tpm2", "--tang", "http://10.0.0.1"];
    const { stdout, status } = await sandbox.run(argv);
    expect(status).toBe(0);
    expect(stdout).toContain("fetch the keys of http://10.0.0.1, and ask whether they are the right ones\n");
    expect(readFileSync(sandbox.path("default.img")).equals(before)).toBe(true);
    expect(existsSync(sandbox.path("tokens"))).toBe(false);
  });
});
