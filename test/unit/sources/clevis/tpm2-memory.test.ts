import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { octJwkText } from "../../../../src/jose/oct-jwk.ts";
import { tpm2Opener } from "../../../../src/sources/clevis/tpm2-open.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { findInMemory } from "../../providers/bcachefs/process-memory.ts";
import { neverAborted, skipReason, startSwtpm, swtpmMissing } from "../../tpm2/swtpm.ts";
import { pinHeader, readToken } from "../../tpm2/tokens.ts";

// A software TPM takes seconds for an RSA key, and the machine may be busy.
setDefaultTimeout(60_000);

const program = join(import.meta.dir, "tpm2-forgetting-program.ts");

/** The key itself and its text in the JWK, each without its ends, should those be overwritten alone. */
function needles(key: SecretBytes): Readonly<Record<string, Uint8Array>> {
  using jwk = octJwkText(key);
  return { key: key.bytes.slice(2, 28), "its text": jwk.bytes.slice(26, 60) };
}

async function whenDone(child: Bun.Subprocess<"ignore", "pipe", "inherit">): Promise<void> {
  for await (const chunk of child.stdout) if (new TextDecoder().decode(chunk).includes("done")) return;
  throw new Error("the program ended early");
}

const start = (...argv: string[]) =>
  Bun.spawn([process.execPath, program, ...argv], { stdin: "ignore", stdout: "pipe", stderr: "inherit" });

describe.skipIf(swtpmMissing !== undefined)(
  `once the key is wiped, its process holds no copy of it${skipReason}`,
  () => {
    test.each(["tpm2-nopcr-ecc", "tpm2-pcr7-sha256-rsa"])("after %s was opened", async (id) => {
      await using swtpm = await startSwtpm();
      let wanted: ReturnType<typeof needles>;
      {
        await using tpm = swtpm.tpm();
        using key = await tpm2Opener(tpm).open(pinHeader(readToken(id)), neverAborted());
        wanted = needles(key);
      }
      await using child = start("open", swtpm.tcti, id);
      await whenDone(child);
      expect(findInMemory(child.pid, wanted)).toEqual([]);
      const here = findInMemory(process.pid, wanted).map(({ what }) => what);
      expect(new Set(here)).toEqual(new Set(Object.keys(wanted))); // the search finds what is there
    });

    test("after it was sealed", async () => {
      await using swtpm = await startSwtpm({ state: "new" });
      await using child = start("seal", swtpm.tcti);
      await whenDone(child);
      using key = SecretBytes.take(new Uint8Array(32).map((_, index) => (index * 37 + 11) & 0xff));
      expect(findInMemory(child.pid, needles(key))).toEqual([]);
    });
  },
);
