import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { sssWish, tangWish, tpm2Wish, type Wish } from "../../../src/enroll/wish.ts";
import { thumbprint } from "../../../src/jose/ec-jwk.ts";
import { httpOverFetch } from "../../../src/sources/clevis/http.ts";
import { fetchAdvertisement } from "../../../src/sources/clevis/tang-advertisement.ts";
import { fixtures } from "../sources/clevis/fixtures.ts";
import { hasTangd, startTangd } from "../sources/clevis/tangd.ts";
import { type Swtpm, startSwtpm, swtpmMissing } from "../tpm2/swtpm.ts";
import { Folder, LUKS_PASSPHRASE, LuksFile, never, play, whyNoLuks } from "./scene.ts";

// clevis takes a second and more for each token.
setDefaultTimeout(180_000);

const wanted = ["clevis", "clevis-luks-list", "clevis-luks-pass", "clevis-luks-unlock", "jose", "tpm2_unseal"];
const absent = wanted.find((program) => Bun.which(program) === null);
const whyNot =
  whyNoLuks ??
  swtpmMissing ??
  (absent === undefined ? undefined : `${absent} is not installed`) ??
  (hasTangd ? undefined : "tangd is not installed");

/** A program of clevis as a person runs it. */
async function clevis(args: readonly string[], swtpm: Swtpm): Promise<{ status: number; output: string }> {
  const child = Bun.spawn(["clevis", ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "ignore",
    env: { ...process.env, TPM2TOOLS_TCTI: swtpm.tcti },
  });
  return { output: await new Response(child.stdout).text(), status: await child.exited };
}

const skipped = whyNot === undefined ? "" : ` (skipped: ${whyNot})`;
describe.skipIf(whyNot !== undefined)(
  `what latchkey puts into a LUKS2 header, clevis itself lists and opens${skipped}`,
  () => {
    test.each(["tpm2", "tang", "sss"] as const)("%s", async (method) => {
      await using swtpm = await startSwtpm({ state: "new", socket: "tcp" });
      using disk = new LuksFile();
      using keys = new Folder();
      cpSync(join(fixtures, "tang/a"), keys.path, { recursive: true });
      using server = startTangd(keys.path);
      const url = `http://127.0.0.1:${server.port}`;
      const { signingKeys } = await fetchAdvertisement(url, httpOverFetch(), never);
      const known = signingKeys.map((key) => thumbprint(key))[0];
      const wishes: Readonly<Record<typeof method, Wish>> = {
        tpm2: tpm2Wish({ pcrs: "1,7" }),
        tang: tangWish({ url, thumbprint: known }),
        sss: sssWish({ threshold: "2", tpm2: true, tang: [`${url}#${known}`] }),
      };
      const listed = {
        tpm2: `1: tpm2 '{"hash":"sha256","key":"ecc","pcr_bank":"sha256","pcr_ids":"1,7"}'\n`,
        tang: `1: tang '{"url":"${url}"}'\n`,
        sss: `1: sss '{"t":2,"pins":{"tang":[{"url":"${url}"}],"tpm2":[{"hash":"sha256","key":"ecc","pcr_bank":"sha256","pcr_ids":"7"}]}}'\n`,
      };
      const { error } = await play({
        wish: wishes[method],
        target: await disk.target(),
        passphrase: LUKS_PASSPHRASE,
        swtpm,
      });
      expect(error).toBeUndefined();
      expect(await clevis(["luks", "list", "-d", disk.image], swtpm)).toEqual({ output: listed[method], status: 0 });
      const { output, status } = await clevis(["luks", "pass", "-d", disk.image, "-s", "1"], swtpm);
      expect(status).toBe(0);
      disk.cryptsetup(["open", "--test-passphrase", "--key-slot", "1", "--key-file", "-", disk.image], output);
      // As `clevis luks unlock` does, short of the mapping, which takes a device mapper.
      expect((await clevis(["luks", "unlock", "-d", disk.image, "-t", "1"], swtpm)).status).toBe(0);
      // And clevis removes it again, as it would one of its own.
      expect((await clevis(["luks", "unbind", "-f", "-d", disk.image, "-s", "1"], swtpm)).status).toBe(0);
      const { slots, tokens } = await disk.metadata();
      expect([[...slots], tokens.size]).toEqual([[0], 0]);
    });
  },
);
