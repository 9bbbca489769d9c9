/** Run by hand when the commands latchkey sends change on purpose: `bun test/unit/tpm2/record-transcripts.ts`. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sealTpm2Key } from "../../../src/sources/clevis/tpm2-seal.ts";
import { SecretBytes } from "../../../src/system/secret-bytes.ts";
import { commands, encodeCommand } from "../../../src/tpm2/commands.ts";
import { openSocket } from "../../../src/tpm2/socket-transport.ts";
import { parseTcti } from "../../../src/tpm2/tcti.ts";
import type { Tpm } from "../../../src/tpm2/tpm.ts";
import type { TpmTransport } from "../../../src/tpm2/transport.ts";
import { codeOf, RecordingTransport, repeatableRandom, tpmOver } from "./fakes.ts";
import { neverAborted, startSwtpm } from "./swtpm.ts";
import { openToken, readToken } from "./tokens.ts";

const folder = join(import.meta.dir, "transcripts");

async function record(
  name: string,
  what: string,
  work: (tpm: Tpm) => Promise<unknown>,
  before?: (command: Uint8Array, inner: TpmTransport) => Promise<void>,
): Promise<void> {
  await using swtpm = await startSwtpm();
  const address = parseTcti(swtpm.tcti);
  if (address.kind !== "unix") throw new Error("not a unix socket");
  const transport = new RecordingTransport(await openSocket(address, "swtpm", neverAborted()), before);
  {
    await using tpm = tpmOver(transport, { random: repeatableRandom() });
    await work(tpm).catch((error: Error) => console.log(`${name}: ${error.message}`));
  }
  const text = JSON.stringify({ what, exchanges: transport.exchanges }, undefined, 2);
  writeFileSync(join(folder, `${name}.json`), `${text}\n`);
}

const open = (id: string) => (tpm: Tpm) => openToken(tpm, readToken(id));

/** Before the first Unseal somebody extends a PCR that is not bound. */
function disturber() {
  let done = false;
  return async (command: Uint8Array, inner: TpmTransport): Promise<void> => {
    if (done || codeOf(command) !== 0x15e) return;
    done = true;
    const extend = commands.pcrExtend(4, [[0x000b, new Uint8Array(32)]]);
    const password = Uint8Array.of(0x40, 0, 0, 9, 0, 0, 0, 0, 0);
    await inner.transmit(encodeCommand(extend, password), neverAborted());
  };
}

async function main(): Promise<void> {
  mkdirSync(folder, { recursive: true });
  await record("open-without-pcrs", "tpm2-nopcr-ecc is opened", open("tpm2-nopcr-ecc"));
  await record("open-pcr-7", "tpm2-pcr7-sha256-ecc is opened", open("tpm2-pcr7-sha256-ecc"));
  await record("open-pcr-race", "tpm2-pcr7-sha256-ecc, PCR 4 changes", open("tpm2-pcr7-sha256-ecc"), disturber());
  await record("pcr-mismatch", "tpm2-pcr7-never is refused", open("tpm2-pcr7-never"));
  await record("foreign", "tpm2-foreign is refused", open("tpm2-foreign"));
  await record("seal-pcr-7", "a key of 32 octets 0x42 is sealed to PCR 7", async (tpm) => {
    using key = SecretBytes.take(new Uint8Array(32).fill(0x42));
    await sealTpm2Key(tpm, key, { pcrs: [7] }, neverAborted());
  });
}

await main();
