import { answerReader, commands } from "./commands.ts";
import { decodeSelections, type ReadSelection } from "./pcr-selection.ts";
import type { TpmTurn } from "./tpm.ts";
import type { WireReader } from "./wire.ts";

/** TPM_CAP, TPM 2.0 Part 2 section 6.12. */
const CAPABILITY = { handles: 0x1, pcrs: 0x5, tpmProperties: 0x6 } as const;

/** More than a TPM can hold at once, and less than an answer: bounds what is listed. */
const MAX_HANDLES = 254;

/** PCR banks that the TPM keeps, each with its PCRs. Banks without PCRs are known to the TPM and not active. */
export async function allocatedBanks(turn: TpmTurn): Promise<readonly ReadSelection[]> {
  const reader = await capability(turn, CAPABILITY.pcrs, 0, 1);
  const banks = decodeSelections(reader);
  reader.end();
  return banks.filter(({ pcrs }) => pcrs.length > 0);
}

/** Properties of the TPM from `first` on, TPM_PT of Part 2 section 6.13. Those it does not have are left out. */
export async function tpmProperties(turn: TpmTurn, first: number, count: number): Promise<ReadonlyMap<number, number>> {
  const reader = await capability(turn, CAPABILITY.tpmProperties, first, count);
  const given = reader.u32();
  if (given > count) throw reader.fail(`it lists ${given} properties`);
  const properties = new Map<number, number>();
  for (let index = 0; index < given; index++) properties.set(reader.u32(), reader.u32());
  reader.end();
  return properties;
}

/** First handle of each range, Part 2 section 7.2. */
const RANGE = { transient: 0x80000000, session: 0x02000000, savedSession: 0x03000000 } as const;

/** Handles of one kind that are in the TPM now; with a resource manager, those of this connection. */
export async function loadedHandles(turn: TpmTurn, kind: keyof typeof RANGE): Promise<readonly number[]> {
  const reader = await capability(turn, CAPABILITY.handles, RANGE[kind], MAX_HANDLES);
  const count = reader.u32();
  if (count > MAX_HANDLES) throw reader.fail(`it lists ${count} handles`);
  const handles = Array.from({ length: count }, () => reader.u32());
  reader.end();
  return handles;
}

/** TPM2_GetCapability, Part 3 section 30.2. @returns a reader at the start of the data asked for */
async function capability(turn: TpmTurn, kind: number, property: number, count: number): Promise<WireReader> {
  const command = commands.getCapability(kind, property, count);
  const answer = await turn.channel.execute(command, turn.signal);
  const reader = answerReader(command.name, answer.parameters);
  reader.u8(); // moreData: no caller asks for less than all it needs
  const given = reader.u32();
  if (given !== kind) throw reader.fail(`it has capability ${given} in place of ${kind}`);
  return reader;
}
