import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openToken } from "../../../../src/sources/clevis/decrypt.ts";
import { clevisFallback } from "../../../../src/sources/clevis/fallback.ts";
import { sssSealer } from "../../../../src/sources/clevis/seal.ts";
import { parseToken } from "../../../../src/sources/clevis/token.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { toolsWith } from "./fixtures.ts";
import { errorOf, nullSealer, nullToken, secretOf, textOf, tokenWithHeader } from "./make-tokens.ts";

const never = new AbortController().signal;
const folders: string[] = [];

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** An installed clevis whose `clevis decrypt` is this shell script, with the pin "yubikey". */
function clevisThat(script: string, timeLimit = 5_000) {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-clevis-"));
  folders.push(folder);
  for (const name of ["clevis", "clevis-decrypt-yubikey", "clevis-decrypt-tpm2"]) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  const path = `${folder}:/usr/bin:/bin`;
  return { folder, fallback: clevisFallback({ clevis: join(folder, "clevis"), path, timeLimit }) };
}

const foreign = tokenWithHeader({ alg: "dir", enc: "A256GCM", clevis: { pin: "yubikey", yubikey: {} } });
const openWith = (script: string, options: { timeLimit?: number; signal?: AbortSignal } = {}) => {
  const { fallback } = clevisThat(script, options.timeLimit);
  return openToken(parseToken(`${foreign}\n`), toolsWith({ fallback }), options.signal ?? never);
};
const openMemoryFiles = (): number =>
  readdirSync("/proc/self/fd").filter((descriptor) => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`).includes("memfd:latchkey");
    } catch {
      return false;
    }
  }).length;

describe("a token with a pin latchkey does not know", () => {
  test("goes to clevis as it is, without a line feed, and its output is the secret, byte for byte", async () => {
    const { folder, fallback } = clevisThat(
      'echo "$@" > "$(dirname "$0")/args"; cat > "$(dirname "$0")/stdin"; printf "a\\000b\\n"',
    );
    expect(textOf(await openToken(parseToken(`${foreign}\r\n`), toolsWith({ fallback }), never))).toBe("a\0b\n");
    expect(readFileSync(join(folder, "args"), "utf8")).toBe("decrypt\n");
    expect(readFileSync(join(folder, "stdin"), "utf8")).toBe(foreign);
  });

  test("gives no secret when clevis fails after it printed one, and says what clevis said", async () => {
    const error = await errorOf(() =>
      openWith('printf hunter2; echo "first" >&2; echo "the tag is wrong" >&2; exit 1'),
    );
    expect(error.code).toBe("token/fallback-failed");
    expect(error.message).toBe("clevis decrypt: it ended with status 1: the tag is wrong");
  });

  test("ends within its limit, with everything it started", async () => {
    const started = performance.now();
    const error = await errorOf(() => openWith("printf hunter2; sleep 60 | sleep 60", { timeLimit: 200 }));
    expect(error.message).toBe("clevis decrypt: it did not end within 0.2 s");
    expect(performance.now() - started).toBeLessThan(3_000);
  });

  test("ends at once when it is no longer wanted", async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    const error = await errorOf(() => openWith("sleep 60", { signal: controller.signal }));
    expect(error.message).toBe("clevis decrypt: it was no longer wanted");
    expect((await errorOf(() => openWith("sleep 60", { signal: controller.signal }))).code).toBe(
      "token/fallback-failed",
    );
  });

  test("may not write without end, on either output", async () => {
    expect((await errorOf(() => openWith("cat /dev/zero"))).message).toContain("too long for a secret");
    expect((await errorOf(() => openWith("head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 3"))).message).toMatch(
      /^clevis decrypt: it ended with status 3: x{200}$/,
    );
  });

  test("leaves no file in memory behind, and nothing in it", async () => {
    textOf(await openWith("printf hunter2"));
    await errorOf(() => openWith("printf hunter2; exit 1"));
    expect(openMemoryFiles()).toBe(0);
  });

  test("can be a share among others", async () => {
    const { fallback } = clevisThat("exit 1");
    using secret = secretOf("hunter2");
    const token = await sssSealer(1, [async () => foreign, nullSealer])(secret, never);
    expect(textOf(await openToken(parseToken(token), toolsWith({ fallback }), never))).toBe("hunter2");
  });

  test.each(["yubikey2", "../../bin/sh", "Yubikey", "-x", "", "__proto__", "a".repeat(65), "a b", "yubikey\n"])(
    "is not run when the pin is %p: not installed, or no name of a program",
    async (pin) => {
      const { folder, fallback } = clevisThat('touch "$(dirname "$0")/ran"; printf x');
      const token = tokenWithHeader({ alg: "dir", enc: "A256GCM", clevis: { pin } });
      const error = await errorOf(() => openToken(parseToken(token), toolsWith({ fallback }), never));
      expect(error.code).toBe("token/unknown-pin");
      expect(readdirSync(folder)).not.toContain("ran");
    },
  );
});

describe("a tpm2 token with an algorithm latchkey does not know", () => {
  const token = tokenWithHeader({ alg: "dir", enc: "A256GCM", clevis: { pin: "tpm2", tpm2: { key: "ecc:camellia" } } });

  // Any opener that refuses the algorithm: the real one does it before it asks a TPM.
  const tpm2 = {
    open: async () => {
      throw new LatchkeyError("token/unsupported", "the algorithm ecc:camellia is not known");
    },
  };

  test("goes to clevis; when that fails too, latchkey's own reason stands", async () => {
    const works = clevisThat("printf hunter2").fallback;
    expect(textOf(await openToken(parseToken(token), toolsWith({ tpm2, fallback: works }), never))).toBe("hunter2");
    const fails = clevisThat("exit 1").fallback;
    const error = await errorOf(() => openToken(parseToken(token), toolsWith({ tpm2, fallback: fails }), never));
    expect(error.code).toBe("token/unsupported");
  });

  test("a known pin that fails does not go to clevis", async () => {
    const { folder, fallback } = clevisThat('touch "$(dirname "$0")/ran"; printf x');
    using secret = secretOf("hunter2");
    const broken = nullToken(secret).replace(/.{8}$/, "AAAAAAAA"); // the end of the tag
    const error = await errorOf(() => openToken(parseToken(broken), toolsWith({ fallback }), never));
    expect(error.code).toBe("token/tag-mismatch");
    expect(readdirSync(folder)).not.toContain("ran");
  });
});
