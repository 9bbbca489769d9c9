import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, truncateSync, writeFileSync } from "node:fs";
import { flattenedFromCompact } from "../../../src/jose/jwe.ts";
import type { Report } from "../../../src/unlock/report.ts";
import { LUKS_PASSPHRASE, LuksFile, whyNoLuks } from "../enroll/scene.ts";
import { headerBytes } from "../providers/luks/fixtures.ts";
import { nullToken, secretOf } from "../sources/clevis/make-tokens.ts";
import { DISKS, Sandbox, whyNoSandbox } from "./sandbox.ts";

setDefaultTimeout(240_000);

const whyNot = whyNoSandbox ?? whyNoLuks;

/** A real LUKS2 as `disk.img`, with a Clevis token that holds the passphrase, or another, for its key slot. */
function machine(tokenHolds?: string): Sandbox {
  const sandbox = new Sandbox();
  using disk = new LuksFile();
  if (tokenHolds !== undefined) {
    using secret = secretOf(tokenHolds);
    const token = { type: "clevis", keyslots: ["0"], jwe: flattenedFromCompact(nullToken(secret)) };
    disk.cryptsetup(["token", "import", "--json-file", "-", disk.image], JSON.stringify(token));
  }
  cpSync(disk.image, sandbox.path("disk.img"));
  return sandbox;
}

async function reportOf(sandbox: Sandbox, ...args: readonly string[]): Promise<Report & { status: number }> {
  const { stdout, status } = await sandbox.run(["unlock", ...args, "--json"]);
  return { ...(JSON.parse(stdout) as Report), status };
}

const wordsOf = async (sandbox: Sandbox): Promise<string> => (await sandbox.run(["image-needs"])).stdout;

const name = `LUKS on the command line${whyNot === undefined ? "" : ` (skipped: ${whyNot})`}`;
describe.skipIf(whyNot !== undefined)(name, () => {
  // There is no device-mapper for a file: what was proven right fails when the mapping is to be made, and not before.
  test("a Clevis token in the header is a way in", async () => {
    using sandbox = machine(LUKS_PASSPHRASE);
    sandbox.file("/etc/crypttab", `data ${DISKS}/disk.img none luks\n`);
    for (const volume of ["data", "./disk.img"]) {
      const { attempts } = await reportOf(sandbox, volume);
      expect(attempts[0]).toMatchObject({ source: "clevis", verdict: "failed", error: { code: "luks/tool-failed" } });
    }
  });

  test("a token that holds another passphrase is a wrong credential", async () => {
    using sandbox = machine("another one");
    const { attempts } = await reportOf(sandbox, "./disk.img");
    expect(attempts[0]).toMatchObject({
      source: "clevis",
      verdict: "wrong-credential",
      error: { code: "luks/wrong-passphrase" },
    });
  });

  test("a header without tokens says nothing of it, unless somebody asked for one", async () => {
    using sandbox = machine();
    const { attempts, status } = await reportOf(sandbox, "./disk.img");
    expect(attempts.map(({ source }) => source)).toEqual(["prompt"]);
    expect(status).toBe(3);
    sandbox.file(
      "/etc/latchkey/latchkey.toml",
      `[volumes.data]\nkind = "luks"\ndevice = "${DISKS}/disk.img"\nsources = ["clevis"]\n`,
    );
    const asked = await sandbox.run(["unlock", "data"]);
    expect(asked.stderr).toStartWith(
      "latchkey: error: token/unreadable: data: there is no Clevis token in its LUKS2 header\n",
    );
    expect(asked.status).toBe(3);
  });

  test("a token file at its usual place comes before the header", async () => {
    using sandbox = machine(LUKS_PASSPHRASE);
    using secret = secretOf("of the file");
    sandbox.file("/etc/crypttab", `data ${DISKS}/disk.img none luks\n`);
    sandbox.file("/etc/latchkey/data.jwe", nullToken(secret));
    const { attempts } = await reportOf(sandbox, "data");
    expect(attempts[0]).toMatchObject({ source: "clevis", verdict: "wrong-credential" });
  });

  test("a key file is taken as it is, line feed and all", async () => {
    using sandbox = machine();
    sandbox.file("key", `${LUKS_PASSPHRASE}\n`);
    const verdict = async (...args: readonly string[]) => (await sandbox.run(["verify", "./disk.img", ...args])).status;
    expect(await verdict("--key-file", "key")).toBe(2);
    expect(await verdict("--passphrase-file", "key")).toBe(0);
    writeFileSync(sandbox.path("key"), LUKS_PASSPHRASE);
    expect(await verdict("--key-file", "key")).toBe(0);
  });

  test("a header that is damaged, or wants absurd memory, is told before there is a question", async () => {
    using sandbox = machine();
    const bytes = headerBytes("pbkdf2");
    bytes[4100] = 0;
    writeFileSync(sandbox.path("half.img"), bytes);
    truncateSync(sandbox.path("half.img"), 24 * 1024 * 1024);
    const half = await sandbox.run(["inspect", "./half.img"]);
    expect(half.stderr).toBe(
      "latchkey: note: the first copy of its LUKS2 header is damaged: its checksum does not hold\n",
    );
    expect(half.status).toBe(0);
    bytes[0x4000 + 4100] = 0;
    writeFileSync(sandbox.path("bad.img"), bytes);
    for (const command of ["inspect", "unlock", "verify"]) {
      const bad = await sandbox.run([command, "./bad.img"]);
      expect(bad.stderr).toStartWith(`latchkey: error: luks/header-damaged: ${DISKS}/bad.img: both copies`);
      expect(bad.status).toBe(1);
    }
  });

  test("an image needs what the tokens in the headers need, for volumes that it will open", async () => {
    using sandbox = machine();
    writeFileSync(sandbox.path("tokens.img"), headerBytes("argon2id"));
    const needs = async (options: string): Promise<string> => {
      sandbox.file("/etc/crypttab", `data ${DISKS}/tokens.img none luks${options}\n`);
      return await wordsOf(sandbox);
    };
    expect(await needs(",x-initrd.attach")).toContain("network tpm");
    expect(await needs(",x-initrd.attach,noauto")).not.toContain("tpm");
    sandbox.file("/etc/latchkey/latchkey.toml", `[volumes.more]\nkind = "luks"\ndevice = "${DISKS}/tokens.img"\n`);
    sandbox.file("/etc/crypttab", "");
    expect(await wordsOf(sandbox)).toContain("network tpm");
  });
});
