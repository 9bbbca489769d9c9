import { runEnrolment } from "../../../src/enroll/enrolment.ts";
import { machineMeans } from "../../../src/enroll/machine-means.ts";
import { planEnrolment, type TargetFacts } from "../../../src/enroll/steps.ts";
import { sssWish, tpm2Wish } from "../../../src/enroll/wish.ts";
import { runCryptsetup } from "../../../src/providers/luks/cryptsetup.ts";
import { Luks2Device } from "../../../src/providers/luks/luks2-device.ts";
import { readSecret } from "../../../src/system/secret-input.ts";

/** Run by a test: enrols on a LUKS2 header, says so and stays, so that its memory can be read. */
const [, , image = "", passphraseFile = "", tcti = "", ...tang] = process.argv;

async function main(): Promise<void> {
  const facts = { kind: "luks2", name: "data", device: image, slot: 1, id: 0 } satisfies TargetFacts;
  const wish = tang.length === 0 ? tpm2Wish({}) : sssWish({ threshold: "2", tpm2: true, tang });
  {
    using passphrase = readSecret(passphraseFile);
    await runEnrolment(planEnrolment(wish, facts, { from: passphraseFile, force: false }), {
      ...machineMeans({ tcti, authorityFile: undefined }),
      target: { kind: "luks2", facts, device: new Luks2Device(image, runCryptsetup), boundSlots: [] },
      passphrase,
      say: () => undefined,
      note: () => undefined,
      signal: new AbortController().signal,
    });
  }
  process.stdout.write("done\n");
  setTimeout(() => undefined, 60_000);
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
