import { runEnrolment } from "../../../src/enroll/enrolment.ts";
import { PersonAtTerminal } from "../../../src/enroll/person.ts";
import { planEnrolment, type TargetFacts } from "../../../src/enroll/steps.ts";
import { runCryptsetup } from "../../../src/providers/luks/cryptsetup.ts";
import { Luks2Device } from "../../../src/providers/luks/luks2-device.ts";

/** Run by a test: enrols a recovery key on a terminal, says so and stays, so that its memory can be read. */
const [, , terminal = "", image = ""] = process.argv;

async function main(): Promise<void> {
  const facts = { kind: "luks2", name: "data", device: image, slot: 1, id: 0 } satisfies TargetFacts;
  const steps = planEnrolment({ method: "recovery" }, facts, { from: "the terminal", force: false });
  const unused = (): never => {
    throw new Error("a recovery key needs neither TPM nor network");
  };
  await runEnrolment(steps, {
    target: { kind: "luks2", facts, device: new Luks2Device(image, runCryptsetup), boundSlots: [] },
    person: new PersonAtTerminal(terminal),
    openTpm: unused,
    openTools: unused,
    say: () => undefined,
    note: () => undefined,
    signal: new AbortController().signal,
  });
  process.stdout.write("done\n");
  setTimeout(() => undefined, 60_000);
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
