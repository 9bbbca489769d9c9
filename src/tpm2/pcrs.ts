import { LatchkeyError } from "../system/errors.ts";
import { type HashName, hashById } from "./algorithms.ts";
import { allocatedBanks } from "./capabilities.ts";
import { answerReader, commands } from "./commands.ts";
import { bankName, decodeSelections, isPcr, PCR_COUNT, type PcrSelection } from "./pcr-selection.ts";
import type { TpmTurn } from "./tpm.ts";
import { sameBytes } from "./wire.ts";

/** TPML_DIGEST holds at most this many (TPM 2.0 Part 2 section 10.9), so that a read may take three answers. */
const MAX_DIGESTS = 8;
/** Reads from the start again when a PCR was extended between two answers: other services measure at boot too. */
const MAX_READS = 5;

/** Values of the selected PCRs, in ascending order of the PCRs. */
export type PcrValues = readonly Uint8Array[];

/**
 * What the PCRs hold now.
 * @throws LatchkeyError tpm2/bank-missing when the TPM does not keep that bank; what PCR_Read answered
 */
export async function readPcrs(turn: TpmTurn, selection: PcrSelection): Promise<PcrValues> {
  for (let read = 1; ; read++) {
    const values = await readOnce(turn, selection);
    if (values) return values;
    if (read >= MAX_READS) {
      throw new LatchkeyError("tpm2/busy", `the PCRs kept changing while they were read, ${MAX_READS} times`);
    }
  }
}

async function readOnce(turn: TpmTurn, { bank, pcrs }: PcrSelection): Promise<PcrValues | undefined> {
  const values = new Map<number, Uint8Array>();
  let counter: number | undefined;
  while (values.size < pcrs.length) {
    const left: number[] = [];
    for (const pcr of pcrs) if (!values.has(pcr)) left.push(pcr);
    const command = commands.pcrRead({ bank, pcrs: left });
    const answer = await turn.channel.execute(command, turn.signal);
    const reader = answerReader(command.name, answer.parameters);
    const updates = reader.u32();
    counter ??= updates;
    if (updates !== counter) return undefined;
    const got: number[] = [];
    for (const part of decodeSelections(reader)) if (part.bankId === bank.id) got.push(...part.pcrs);
    const count = reader.u32();
    if (got.length === 0 || count === 0) throw bankMissing(bank.name, pcrs);
    if (count !== got.length || count > MAX_DIGESTS) throw reader.fail(`${count} values for ${got.length} PCRs`);
    for (const pcr of got) {
      if (!left.includes(pcr)) throw reader.fail(`it has PCR ${pcr}, which nobody asked for`);
      const value = reader.sized();
      if (value.length !== bank.size) throw reader.fail(`a value has ${value.length} bytes`);
      values.set(pcr, value.slice());
    }
    reader.end();
  }
  const inOrder: Uint8Array[] = [];
  for (const pcr of pcrs) inOrder.push(values.get(pcr) ?? new Uint8Array());
  return inOrder;
}

function bankMissing(bank: string, pcrs: readonly number[]): LatchkeyError {
  return new LatchkeyError("tpm2/bank-missing", `the TPM's PCR bank ${bank} is not active (PCR ${pcrs.join(", ")})`, {
    hint: "turn the bank on in the firmware setup, or enrol again in a bank that is on (--pcr-bank)",
  });
}

/** For a bank whose hash latchkey cannot compute, others of its size: what matters is that nobody can take them back. */
const extendingHash: Readonly<Record<HashName, Bun.SupportedCryptoAlgorithms>> = {
  sha1: "sha1",
  sha256: "sha256",
  sha384: "sha384",
  sha512: "sha512",
  sm3_256: "sha256",
  sha3_256: "sha3-256",
  sha3_384: "sha3-384",
  sha3_512: "sha3-512",
};

function extensionFor(bankId: number, event: string): readonly [number, Uint8Array] {
  const bank = hashById(bankId);
  if (!bank) {
    throw new LatchkeyError(
      "tpm2/unsupported",
      `the TPM has a PCR bank ${bankName(bankId)} that latchkey does not know, so it cannot close all banks`,
    );
  }
  return [bankId, new Bun.CryptoHasher(extendingHash[bank.name]).update(event).digest()];
}

/**
 * Extends one PCR in every bank with the digest of `event`, so that tokens sealed to its value before stay shut until the
 * next start of the machine (TPM2_PCR_Extend, Part 3 section 22.2).
 * @throws LatchkeyError tpm2/bank-missing when no bank keeps that PCR, tpm2/refused when it did not change
 */
export async function extendPcr(turn: TpmTurn, pcr: number, event: string): Promise<void> {
  if (!isPcr(pcr)) {
    throw new LatchkeyError("config/invalid-value", `there is no PCR ${pcr}: they are 0 to ${PCR_COUNT - 1}`);
  }
  const banks = (await allocatedBanks(turn)).filter(({ pcrs }) => pcrs.includes(pcr));
  const known = banks.flatMap(({ bankId }) => hashById(bankId) ?? []);
  if (banks.length === 0) throw bankMissing("of any hash", [pcr]);
  const before: Uint8Array[] = [];
  for (const bank of known) before.push(...(await readPcrs(turn, { bank, pcrs: [pcr] })));
  const digests = banks.map(({ bankId }) => extensionFor(bankId, event));
  const command = commands.pcrExtend(pcr, digests);
  await turn.channel.execute(command, turn.signal, "password");
  // The answer to a command with a password proves nothing, and a latch that did not fall must not go unnoticed.
  for (const [index, bank] of known.entries()) {
    const [now = new Uint8Array()] = await readPcrs(turn, { bank, pcrs: [pcr] });
    if (sameBytes(now, before[index] ?? now)) {
      throw new LatchkeyError("tpm2/refused", `PCR ${pcr} (${bank.name}) did not change when it was extended`);
    }
  }
}
