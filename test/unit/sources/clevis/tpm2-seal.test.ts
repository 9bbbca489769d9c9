import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encryptA256gcm } from "../../../../src/jose/a256gcm.ts";
import { parseCompactJwe } from "../../../../src/jose/jwe.ts";
import { tpm2Opener } from "../../../../src/sources/clevis/tpm2-open.ts";
import { sealTpm2Key, type Tpm2SealOptions } from "../../../../src/sources/clevis/tpm2-seal.ts";
import type { LatchkeyError } from "../../../../src/system/errors.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { nameHash } from "../../../../src/tpm2/algorithms.ts";
import { pcrSelection } from "../../../../src/tpm2/pcr-selection.ts";
import { pcrPolicyDigest } from "../../../../src/tpm2/policy.ts";
import type { Tpm } from "../../../../src/tpm2/tpm.ts";
import { extend, neverAborted, skipReason, startSwtpm, swtpmMissing } from "../../tpm2/swtpm.ts";
import { openToken } from "../../tpm2/tokens.ts";

// A software TPM takes seconds for an RSA key, and the machine may be busy.
setDefaultTimeout(60_000);

const signal = neverAborted();
const clevisTools = ["clevis", "clevis-decrypt-tpm2", "tpm2_unseal", "jose"];
const clevisMissing = clevisTools.find((tool) => Bun.which(tool) === null);

/** A whole token around a sealed key, as `latchkey enroll` makes it. */
async function makeToken(tpm: Tpm, plaintext: string, options: Tpm2SealOptions): Promise<string> {
  using key = SecretBytes.take(crypto.getRandomValues(new Uint8Array(32)));
  using secret = SecretBytes.take(new TextEncoder().encode(plaintext));
  const tpm2 = await sealTpm2Key(tpm, key, options, signal);
  return encryptA256gcm(key, { alg: "dir", clevis: { pin: "tpm2", tpm2 }, enc: "A256GCM" }, secret);
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => "no error",
    (error: LatchkeyError) => error.code,
  );
}

type Variant = readonly [name: string, options: Tpm2SealOptions];

/** Those that clevis opens, too. */
const variants: readonly Variant[] = [
  ["without PCRs", {}],
  ["to PCRs 7 and 15 in sha384", { pcrs: [7, 15], bank: "sha384" }],
  ["under RSA, to PCR 7", { key: "rsa", pcrs: [7] }],
  ["with sha1 for a name, under P-384", { hash: "sha1", key: "ecc384" }],
];

const moreVariants: readonly Variant[] = [
  ["to PCRs 7 and 1 in sha1", { pcrs: [7, 1], bank: "sha1" }],
  ["under P-256 with AES-256", { key: "ecc:aes256cfb" }],
  ["with sha384 for a name, under RSA", { hash: "sha384", key: "rsa" }],
  ["with sha512 for a name, to PCR 7", { hash: "sha512", pcrs: [7] }],
  ["under P-521", { key: "ecc521", pcrs: [7] }],
  ["under RSA of 3072 bits", { key: "rsa3072" }],
];

describe.skipIf(swtpmMissing !== undefined)(`a key sealed by latchkey${skipReason}`, () => {
  const opensAgain = async (options: Tpm2SealOptions): Promise<void> => {
    await using swtpm = await startSwtpm({ state: "new" });
    {
      await using tpm = swtpm.tpm();
      const token = await makeToken(tpm, "passphrase", options).catch((error: LatchkeyError) => {
        if (error.code === "tpm2/unsupported") return undefined; // not every libtpms has every key type
        throw error;
      });
      if (token !== undefined) expect(await openToken(tpm, parseCompactJwe(token))).toBe("passphrase");
    }
    expect(await swtpm.leftInside()).toEqual([]);
  };

  for (const [name, options] of [...variants, ...moreVariants]) {
    test(`${name} opens again, and nothing is left inside`, () => opensAgain(options));
  }

  test("has the header that clevis writes", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    await using tpm = swtpm.tpm();
    using key = SecretBytes.allocate(32);
    const plain = await sealTpm2Key(tpm, key, {}, signal);
    expect(Object.keys(plain)).toEqual(["hash", "jwk_priv", "jwk_pub", "key"]);
    const bound = await sealTpm2Key(tpm, key, { pcrs: [7, 1] }, signal);
    expect(bound).toMatchObject({ hash: "sha256", key: "ecc", pcr_bank: "sha256", pcr_ids: "1,7" });
  });

  test("to PCRs stays shut when one of them changes", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    await using tpm = swtpm.tpm();
    const token = parseCompactJwe(await makeToken(tpm, "passphrase", { pcrs: [7, 15] }));
    await extend(tpm, 15, 0x000b, new Uint8Array(32));
    expect(await codeOf(openToken(tpm, token))).toBe("tpm2/pcr-mismatch");
  });

  test("to values of tomorrow opens tomorrow, given as values or as a policy digest", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    await using tpm = swtpm.tpm();
    const sha256 = nameHash("sha256");
    const event = new Uint8Array(32).fill(5);
    const tomorrow = new Bun.CryptoHasher("sha256").update(new Uint8Array(32)).update(event).digest();
    const values = new Uint8Array([...new Uint8Array(32), ...tomorrow]);
    const selection = pcrSelection(sha256, [7, 8], "token/malformed");
    const digest = pcrPolicyDigest(sha256, selection, [values]);
    const tokens = [
      await makeToken(tpm, "one", { pcrs: [7, 8], expect: { kind: "values", values } }),
      await makeToken(tpm, "two", { pcrs: [8, 7], expect: { kind: "policy", digest } }),
    ].map(parseCompactJwe);
    for (const token of tokens) expect(await codeOf(openToken(tpm, token))).toBe("tpm2/pcr-mismatch");
    await extend(tpm, 8, sha256.id, event);
    expect(await Promise.all(tokens.map((token) => openToken(tpm, token)))).toEqual(["one", "two"]);
  });

  test("of another TPM does not open", async () => {
    await using one = await startSwtpm({ state: "new" });
    await using other = await startSwtpm({ state: "new" });
    await using tpm = one.tpm();
    await using otherTpm = other.tpm();
    const token = parseCompactJwe(await makeToken(tpm, "passphrase", {}));
    expect(await codeOf(openToken(otherTpm, token))).toBe("tpm2/integrity");
  });

  test.each([
    ["values of the wrong length", { pcrs: [7], expect: { kind: "values", values: new Uint8Array(31) } }],
    ["a policy of the wrong length", { pcrs: [7], expect: { kind: "policy", digest: new Uint8Array(20) } }],
    ["values and no PCRs", { expect: { kind: "values", values: new Uint8Array(32) } }],
    ["a PCR that does not exist", { pcrs: [24] }],
  ] as readonly (readonly [string, Tpm2SealOptions])[])("is not made with %s", async (_, options) => {
    await using swtpm = await startSwtpm({ state: "new" });
    await using tpm = swtpm.tpm();
    expect(await codeOf(makeToken(tpm, "x", options))).toBe("config/invalid-value");
  });

  test("is not made to a bank or with a curve that this TPM does not have", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    await using tpm = swtpm.tpm();
    expect(await codeOf(makeToken(tpm, "x", { pcrs: [7], bank: "sha3_256" }))).toBe("tpm2/unsupported");
    expect(await codeOf(makeToken(tpm, "x", { key: "rsa4096" }))).toBe("tpm2/unsupported");
  });

  test("of 16 bytes is no content key, and is not given out", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    await using tpm = swtpm.tpm();
    using short = SecretBytes.allocate(16);
    const header = await sealTpm2Key(tpm, short, {}, signal);
    expect(await codeOf(tpm2Opener(tpm).open({ ...header }, signal))).toBe("token/malformed");
  });

  test("of unwanted work is not made", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    await using tpm = swtpm.tpm();
    using key = SecretBytes.allocate(32);
    expect(await codeOf(sealTpm2Key(tpm, key, {}, AbortSignal.abort()))).toBe("tpm2/interrupted");
  });
});

const reason = swtpmMissing ?? (clevisMissing && `${clevisMissing} is not installed`);

describe.skipIf(reason !== undefined)(`clevis and latchkey${reason ? ` (skipped: ${reason})` : ""}`, () => {
  /** clevis with this TPM; temporary files of its own. */
  async function clevis(tcti: string, argv: readonly string[], input: string): Promise<string> {
    const folder = mkdtempSync(join(tmpdir(), "latchkey-clevis-"));
    const child = Bun.spawn(["clevis", ...argv], {
      stdin: new TextEncoder().encode(input),
      stdout: "pipe",
      stderr: "pipe",
      env: { ...process.env, TPM2TOOLS_TCTI: tcti, TMPDIR: folder },
    });
    const [output, errors, status] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    rmSync(folder, { recursive: true, force: true });
    if (status !== 0) throw new Error(`clevis ${argv.join(" ")}: ${status}: ${errors}`);
    return output;
  }

  for (const [name, options] of variants) {
    const opensIt = async (): Promise<void> => {
      await using swtpm = await startSwtpm({ socket: "tcp", state: "new" });
      let token: string;
      {
        await using tpm = swtpm.tpm();
        token = await makeToken(tpm, "made by latchkey", options);
      }
      expect(await clevis(swtpm.tcti, ["decrypt"], token)).toBe("made by latchkey");
    };
    test(`\`clevis decrypt\` opens a token that latchkey made ${name}`, opensIt);
  }

  test.each([
    "{}",
    '{"pcr_ids":"0,7"}',
    '{"key":"rsa","hash":"sha512","pcr_bank":"sha512","pcr_ids":["7"]}', // which clevis itself cannot open
  ])("latchkey opens a token that clevis made with %s", async (config) => {
    await using swtpm = await startSwtpm({ socket: "tcp", state: "new" });
    const token = await clevis(swtpm.tcti, ["encrypt", "tpm2", config], "made by clevis");
    await using tpm = swtpm.tpm();
    expect(await openToken(tpm, parseCompactJwe(token))).toBe("made by clevis");
  });
});
