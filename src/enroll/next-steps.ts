import type { Enrolled } from "./enrolment.ts";
import type { Target } from "./target.ts";

/** What the machine does with the new way in, as it is configured now. */
export interface BootFacts {
  /** A volume of the configuration has the source clevis with this token. */
  readonly readsToken: boolean;
  /** /etc/latchkey/NAME.jwe, where a token is found by itself. */
  readonly usualToken: string;
  /** NixOS has its own way to make an initrd, and a module in the place of latchkey.toml. */
  readonly isNixos: boolean;
}

/** What a person should know of what was made, one line each. */
export function resultNotes(target: Target, { token, openedHere }: Enrolled): readonly string[] {
  const notes: string[] = [];
  if (!openedHere) {
    notes.push(
      "the PCRs hold other values now than the token is sealed to, so it was proved in all but that: the next start shows whether they come",
    );
  }
  if (target.kind === "luks2" && token && target.boundSlots.length > 0) {
    const [slot] = target.boundSlots;
    const slots = target.boundSlots.length === 1 ? `slot ${slot} has` : `slots ${target.boundSlots.join(", ")} have`;
    notes.push(
      `key ${slots} an older Clevis token, which stays; to remove one when the new one has proved itself: clevis luks unbind -d ${target.facts.device} -s ${slot}`,
    );
  }
  return notes;
}

/** What is left to do, one line each. */
export function nextSteps(target: Target, { token }: Enrolled, boot: BootFacts): readonly string[] {
  const { name } = target.facts;
  if (!token) {
    return [
      `enroll what opens the disk by itself, for example: latchkey enroll tpm2 ${name}`,
      "only after that has opened it at a start, remove the installation password: see docs/enrolment.md",
    ];
  }
  if (boot.isNixos) return nixosSteps(target);
  if (target.kind === "luks2") return ["latchkey install, so that what opens the token comes into the initrd"];
  const { token: path } = target.facts;
  const setting = path === boot.usualToken ? "" : ` and clevis = { token = "${path}" }`;
  return [
    ...(boot.readsToken
      ? []
      : [`write sources = ["clevis", "prompt"]${setting} under [volumes.${name}] in /etc/latchkey/latchkey.toml`]),
    "latchkey install, so that the token comes into the initrd",
  ];
}

/** The configuration names what the boot loader's copy of the initrd gets, docs/nixos.md. */
function nixosSteps(target: Target): readonly string[] {
  const setting = target.kind === "luks2" ? "inHeader = true" : `token = "${target.facts.token}"`;
  return [
    `write boot.initrd.latchkey.volumes.${target.facts.name}.clevis.${setting}; into the system's configuration, where it is not there yet`,
    "nixos-rebuild boot, so that it comes into the initrd",
  ];
}
