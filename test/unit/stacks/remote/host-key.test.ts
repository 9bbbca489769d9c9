import { describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { fingerprint, publicKeyOf } from "../../../../src/stacks/remote/host-key.ts";
import manifest from "../../../fixtures/ssh/manifest.json";

const fixtures = join(import.meta.dir, "../../../fixtures/ssh");
const hasKeygen = Bun.which("ssh-keygen") !== null;

const fingerprintOf = (file: string): string | undefined => {
  const key = publicKeyOf(new Uint8Array(readFileSync(file)));
  return key && fingerprint(key);
};

/** A key made by ssh-keygen, and the fingerprint that it shows. */
function made(type: string): { ours: string | undefined; theirs: string } {
  const folder = mkdtempSync("/tmp/latchkey-key-");
  try {
    const file = join(folder, "key");
    if (!Bun.spawnSync(["ssh-keygen", "-q", "-t", type, "-N", "", "-f", file]).success)
      throw new Error("no key was made");
    const shown = Bun.spawnSync(["ssh-keygen", "-l", "-f", file]).stdout.toString();
    return { ours: fingerprintOf(file), theirs: /SHA256:[A-Za-z0-9+/]+/.exec(shown)?.[0] ?? "" };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe("the fingerprint of a host key", () => {
  test.skipIf(!hasKeygen).each(["ed25519", "rsa", "ecdsa"])("of OpenSSH, %s (skipped without ssh-keygen)", (type) => {
    const { ours, theirs } = made(type);
    expect(theirs).toStartWith("SHA256:");
    expect(ours).toBe(theirs);
  });

  test.each(Object.entries(manifest.fingerprints))("of %s", (file, theirs) => {
    expect(fingerprintOf(join(fixtures, file))).toBe(theirs);
  });

  test("there is none of anything else", () => {
    const texts = ["", "hello", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"];
    for (const text of texts) expect(publicKeyOf(new TextEncoder().encode(text))).toBeUndefined();
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void publicKeyOf(bytes)));
    const lengths = fc.array(fc.uint8Array({ minLength: 4, maxLength: 12 }), { maxLength: 8 });
    fc.assert(
      fc.property(lengths, (pieces) => {
        const type = Buffer.concat([Buffer.from([0, 0, 0, 11]), Buffer.from("ssh-ed25519"), ...pieces]);
        publicKeyOf(new Uint8Array(type));
      }),
    );
  });
});
