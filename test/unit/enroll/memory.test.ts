import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { thumbprint } from "../../../src/jose/ec-jwk.ts";
import { sortedJson } from "../../../src/jose/json.ts";
import { openToken } from "../../../src/sources/clevis/decrypt.ts";
import { httpOverFetch } from "../../../src/sources/clevis/http.ts";
import { fetchAdvertisement } from "../../../src/sources/clevis/tang-advertisement.ts";
import { parseToken } from "../../../src/sources/clevis/token.ts";
import { tpm2Opener } from "../../../src/sources/clevis/tpm2-open.ts";
import { findInMemory } from "../providers/bcachefs/process-memory.ts";
import { fixtures, toolsWith } from "../sources/clevis/fixtures.ts";
import { hasTangd, startTangd } from "../sources/clevis/tangd.ts";
import { startSwtpm, swtpmMissing } from "../tpm2/swtpm.ts";
import { Folder, LUKS_PASSPHRASE, LuksFile, never, whyNoLuks } from "./scene.ts";

setDefaultTimeout(60_000);

const program = join(import.meta.dir, "forgetting-program.ts");
const whyNot = whyNoLuks ?? swtpmMissing ?? (hasTangd ? undefined : "tangd is not installed");
const skipped = whyNot === undefined ? "" : ` (skipped: ${whyNot})`;

describe.skipIf(whyNot !== undefined)(
  `once it is done, the process that enrolled holds no copy of a secret${skipped}`,
  () => {
    test.each(["tpm2", "sss"])("%s", async (method) => {
      await using swtpm = await startSwtpm({ state: "new" });
      using disk = new LuksFile();
      using keys = new Folder();
      cpSync(join(fixtures, "tang/a"), keys.path, { recursive: true });
      using server = startTangd(keys.path);
      const url = `http://127.0.0.1:${server.port}`;
      const [known] = (await fetchAdvertisement(url, httpOverFetch(), never)).signingKeys.map((key) => thumbprint(key));
      writeFileSync(disk.file("passphrase"), LUKS_PASSPHRASE);
      const argv = [disk.image, disk.file("passphrase"), swtpm.tcti, ...(method === "sss" ? [`${url}#${known}`] : [])];
      await using child = Bun.spawn([process.execPath, program, ...argv], {
        stdin: "ignore",
        stdout: "pipe",
        stderr: "inherit",
      });
      let isDone = false;
      for await (const chunk of child.stdout) {
        isDone = new TextDecoder().decode(chunk).includes("done");
        if (isDone) break;
      }
      expect(isDone).toBe(true);
      const token = parseToken(sortedJson((await disk.metadata()).tokens.get(0)));
      await using tpm = swtpm.tpm();
      using key = await openToken(token, toolsWith({ tpm2: tpm2Opener(tpm) }), never);
      const needles = {
        "the slot's key": key.bytes.slice(2, 50),
        "the passphrase": Buffer.from(LUKS_PASSPHRASE.slice(2, 22)),
      };
      expect(findInMemory(child.pid, needles)).toEqual([]);
      expect(findInMemory(process.pid, needles).length).toBeGreaterThan(1); // the search finds what is there
    });
  },
);
