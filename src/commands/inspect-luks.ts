import type { HeaderToken, KeySlot, LuksHeader, SlotKdf } from "../providers/luks/header.ts";
import { sizeText } from "../providers/luks/slots.ts";
import { pinTreeLines } from "../sources/clevis/describe.ts";
import { asLatchkeyError } from "../system/errors.ts";
import { type ReportedError, reportedError } from "../unlock/report.ts";
import { type TokenFacts, tokenFacts } from "./inspect-token.ts";

/** What `inspect` prints of a LUKS header as JSON, after its keys were spelled in snake case. No secret. */
export interface LuksFacts extends Omit<LuksHeader, "tokens" | "notes"> {
  readonly kind: "luks";
  readonly device: string;
  readonly tokens: readonly LuksTokenFacts[];
}

export interface LuksTokenFacts {
  readonly id: number;
  readonly type: string;
  /** The key slots whose key it holds. */
  readonly slots: readonly number[];
  /** Null for what is no Clevis token, or cannot be used. */
  readonly clevis: Pick<TokenFacts, "pin" | "needs"> | null;
  readonly problem: ReportedError | null;
}

export function luksFacts(device: string, { tokens, notes: _, ...header }: LuksHeader): LuksFacts {
  return { kind: "luks", device, ...header, tokens: tokens.map(factsOfToken) };
}

function factsOfToken({ id, type, slots, json }: HeaderToken): LuksTokenFacts {
  const facts = { id, type, slots, clevis: null, problem: null };
  if (type !== "clevis") return facts;
  try {
    const { pin, needs } = tokenFacts(JSON.stringify(json));
    return { ...facts, clevis: { pin, needs } };
  } catch (thrown) {
    return { ...facts, problem: reportedError(asLatchkeyError(thrown)) };
  }
}

/** The same for people, one fact per line. */
export function luksText(facts: LuksFacts): string {
  const lines: [string, string][] = [
    ["device", facts.device],
    ["kind", `LUKS${facts.version}`],
    ["uuid", facts.uuid],
    ["label", facts.label === "" ? "none" : facts.label],
    ...facts.segments.map(({ id, type, cipher, sectorSize, integrity }): [string, string] => [
      `segment ${id}`,
      `${type === "crypt" ? cipher : type}, sectors of ${sectorSize} bytes${integrity === null ? "" : `, integrity ${integrity}`}`,
    ]),
    ...facts.requirements.map((name): [string, string] => ["requires", name]),
    ...facts.slots.map((slot): [string, string] => [`key slot ${slot.id}`, slotText(slot)]),
    ...facts.tokens.flatMap(tokenLines),
    ...facts.copies.map(({ offset, sequence, problem }): [string, string] => [
      "copy",
      `byte ${offset}: ${problem ?? `good, sequence ${sequence}`}`,
    ]),
  ];
  const width = Math.max(...lines.map(([name]) => name.length)) + 2;
  return lines.map(([name, value]) => `${name.padEnd(width)}${value}`.trimEnd()).join("\n");
}

function slotText({ kdf, cipher, keyBits, priority }: KeySlot): string {
  const note = priority === "normal" ? "" : `, priority ${priority}`;
  return `${kdfText(kdf)}, ${keyBits} bits, ${cipher}${note}`;
}

function kdfText(kdf: SlotKdf): string {
  switch (kdf.kind) {
    case "pbkdf2":
      return `pbkdf2 ${kdf.hash}, iterations ${kdf.iterations}`;
    case "argon2i":
    case "argon2id":
      return `${kdf.kind}, ${sizeText(kdf.memoryBytes)} of memory, iterations ${kdf.iterations}, lanes ${kdf.parallelism}`;
    case "other":
      return `key derivation ${kdf.name}`;
  }
}

function tokenLines({ id, type, slots, clevis, problem }: LuksTokenFacts): [string, string][] {
  const where = slots.length === 0 ? "no key slot" : `key slot ${slots.join(", ")}`;
  const tree = clevis ? pinTreeLines(clevis.pin) : [];
  return [
    [`token ${id}`, `${type}, for ${where}${problem ? `, unusable: ${problem.reason}` : ""}`],
    ...tree.map((line): [string, string] => ["", line]),
  ];
}
