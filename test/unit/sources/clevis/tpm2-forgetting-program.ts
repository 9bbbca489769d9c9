import { tpm2Opener } from "../../../../src/sources/clevis/tpm2-open.ts";
import { sealTpm2Key } from "../../../../src/sources/clevis/tpm2-seal.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { parseTcti } from "../../../../src/tpm2/tcti.ts";
import { Tpm } from "../../../../src/tpm2/tpm.ts";
import { pinHeader, readToken } from "../../tpm2/tokens.ts";

/** Run by a test: unseals or seals a key, wipes it, says so and stays, so that its memory can be read. */
const [, , what, tcti = "", token = ""] = process.argv;

async function main(): Promise<void> {
  const { signal } = new AbortController();
  {
    await using tpm = new Tpm(parseTcti(tcti));
    if (what === "open") {
      using _key = await tpm2Opener(tpm).open(pinHeader(readToken(token)), signal);
    } else {
      // The key comes from a pattern that is nowhere in memory as such.
      using key = SecretBytes.allocate(32);
      for (let index = 0; index < 32; index++) key.bytes[index] = (index * 37 + 11) & 0xff;
      await sealTpm2Key(tpm, key, { pcrs: [7] }, signal);
    }
  }
  process.stdout.write("done\n");
  setTimeout(() => undefined, 60_000);
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
