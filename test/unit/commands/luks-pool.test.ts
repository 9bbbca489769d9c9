import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Sandbox, whyNoSandbox } from "./sandbox.ts";

const whyNot = whyNoSandbox ?? (Bun.which("cryptsetup") === null ? "cryptsetup is not installed" : undefined);

/** A LUKS2 volume in a file, with a key derivation that costs nothing. */
function luksImage(sandbox: Sandbox, name: string, uuid: string, passphrase: string): void {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-luks-"));
  try {
    const key = join(folder, "key");
    writeFileSync(key, passphrase);
    writeFileSync(sandbox.path(name), "");
    truncateSync(sandbox.path(name), 20 * 1024 * 1024);
    const cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    const made = Bun.spawnSync([
      ...["cryptsetup", "luksFormat", "--batch-mode", "--type", "luks2", "--uuid", uuid, ...cheap],
      ...[sandbox.path(name), key],
    ]);
    if (!made.success) throw new Error(made.stderr.toString());
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const uuid = (number: number): string => `4c554b53-0002-4000-8000-00000000000${number}`;

function machine(): Sandbox {
  const sandbox = new Sandbox();
  luksImage(sandbox, "one.img", uuid(1), "right");
  luksImage(sandbox, "two.img", uuid(2), "right");
  luksImage(sandbox, "three.img", uuid(3), "another");
  sandbox.file("blank.img", "nothing");
  sandbox.file("right", "right");
  const volumes = ["one", "two", "three"].map(
    (name) => `[volumes.${name}]\nkind = "luks"\ndevice = "/run/disks/${name}.img"\n`,
  );
  sandbox.file("/etc/latchkey/latchkey.toml", `${volumes.join("\n")}\n[pools.data]\nvolumes = ["one", "two"]\n`);
  sandbox.file("mixed.toml", `${volumes.join("\n")}\n[pools.data]\nvolumes = ["one", "two", "three"]\n`);
  return sandbox;
}

const ok = (name: string): string => `[ok]   ${name}: LUKS2 on /run/disks/${name}.img accepts it\n`;

describe.skipIf(whyNot !== undefined)(
  `a pool of LUKS volumes${whyNot === undefined ? "" : ` (skipped: ${whyNot})`}`,
  () => {
    test("is verified member by member, with cryptsetup", async () => {
      using sandbox = machine();
      const { stdout, status } = await sandbox.run(["verify", "data", "--passphrase-file", "right"]);
      expect({ stdout, status }).toEqual({ stdout: `${ok("one")}${ok("two")}`, status: 0 });
    }, 60_000);

    test("with one member of another passphrase: it is named, and replacing it makes the pool whole", async () => {
      using sandbox = machine();
      const mixed = ["verify", "data", "--config", "mixed.toml", "--passphrase-file", "right"];
      const refused = await sandbox.run(mixed);
      expect(refused.stdout).toBe(`${ok("one")}${ok("two")}`);
      expect(refused.stderr).toContain("error: luks/wrong-passphrase: three: ");
      expect(refused.status).toBe(2);
      const { stdout, status } = await sandbox.run([
        ...mixed,
        "--replacing",
        `UUID=${uuid(3)}`,
        "--adding",
        "./blank.img",
      ]);
      expect(stdout).toBe(
        `${ok("one")}${ok("two")}[skip] three: it is about to be replaced\n[skip] ./blank.img: it holds neither LUKS nor bcachefs, and is yet to be formatted\n`,
      );
      expect(status).toBe(0);
    }, 60_000);

    test("an entering volume that is formatted has to accept it, too; a member cannot enter", async () => {
      using sandbox = machine();
      const adding = (name: string) => sandbox.run(["verify", "data", "--adding", name, "--passphrase-file", "right"]);
      expect((await adding("./three.img")).status).toBe(2);
      expect((await adding("three")).status).toBe(2);
      const again = await adding("./two.img");
      expect(again.stderr).toContain(
        `error: pool/already-member: ./two.img is two, a member of pool data already (UUID ${uuid(2)})`,
      );
      expect(again.status).toBe(4);
    }, 60_000);

    test("no passphrase of one member opens anything: unlock names the other", async () => {
      using sandbox = machine();
      const { stderr, status } = await sandbox.run([
        "unlock",
        "data",
        "--config",
        "mixed.toml",
        "--passphrase-file",
        "right",
      ]);
      expect(stderr).toContain("error: luks/wrong-passphrase: three: ");
      expect(stderr).toContain(
        "error: pool/member-refused: one: not opened because another member of pool data was not",
      );
      expect(status).toBe(2);
    }, 60_000);
  },
);
