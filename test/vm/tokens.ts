/** Clevis tokens for the guests, sealed on the host by latchkey itself to a software TPM and a Tang server that the guest then has. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { httpOverFetch } from "../../src/sources/clevis/http.ts";
import { type Sealer, sssSealer, tangSealer, tpm2Sealer } from "../../src/sources/clevis/seal.ts";
import { fetchAdvertisement } from "../../src/sources/clevis/tang-advertisement.ts";
import { sealTpm2Key } from "../../src/sources/clevis/tpm2-seal.ts";
import { SecretBytes } from "../../src/system/secret-bytes.ts";
import { fixtureStateIn, startSwtpm } from "../unit/tpm2/swtpm.ts";
import { repository } from "./cache.ts";

/** What the guest calls the host's loopback. */
const HOST_FROM_GUEST = "10.0.2.2";

/** Keys of the Tang servers, from the fixtures. */
export const tangKeys = join(repository, "test/fixtures/clevis/tang/a");

const never = new AbortController().signal;

/** A directory with the state of the TPM that tokens are sealed to; a machine gets a copy of it. */
export function tpmState(): Disposable & { readonly directory: string } {
  const directory = mkdtempSync(join(tmpdir(), "latchkey-vm-tpm-"));
  fixtureStateIn(directory);
  return { directory, [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }) };
}

/** Under SeaBIOS and -kernel PCR 14 and 15 are zero in the guest, as in a fresh software TPM. */
export async function tpmToken(
  secret: string,
  pcrs: readonly number[],
  values = new Uint8Array(32 * pcrs.length),
): Promise<string> {
  return await sealed(secret, (tpm) => [tpmSealer(tpm, pcrs, values)]);
}

/** The same, with the content key that only the TPM gives back. */
export async function tpmTokenAndKey(
  secret: string,
  pcrs: readonly number[],
): Promise<{ readonly token: string; readonly contentKey: Uint8Array }> {
  const values = new Uint8Array(32 * pcrs.length);
  let contentKey = new Uint8Array();
  const token = await sealed(secret, (tpm) => [
    tpm2Sealer(async (key, signal) => {
      contentKey = new Uint8Array(key.bytes);
      return { ...(await sealTpm2Key(tpm, key, { pcrs, expect: { kind: "values", values } }, signal)) };
    }),
  ]);
  return { token, contentKey };
}

/** @param port of the Tang server on the host, where it must run now */
export async function tangToken(secret: string, port: number): Promise<string> {
  const sealer = await tangShare(port);
  return await sealed(secret, () => [sealer]);
}

/** A threshold of a TPM share and Tang shares. */
export async function sharedToken(
  secret: string,
  threshold: number,
  pcrs: readonly number[],
  ports: readonly number[],
) {
  const tang = await Promise.all(ports.map(tangShare));
  const values = new Uint8Array(32 * pcrs.length);
  return await sealed(secret, (tpm) => [sssSealer(threshold, [tpmSealer(tpm, pcrs, values), ...tang])]);
}

type HostTpm = ReturnType<Awaited<ReturnType<typeof startSwtpm>>["tpm"]>;

function tpmSealer(tpm: HostTpm, pcrs: readonly number[], values: Uint8Array): Sealer {
  return tpm2Sealer(async (key, signal) => {
    return { ...(await sealTpm2Key(tpm, key, { pcrs, expect: { kind: "values", values } }, signal)) };
  });
}

/** Sealed to the keys on the host, under the name that the guest has for the server. */
async function tangShare(port: number): Promise<Sealer> {
  const advertisement = await fetchAdvertisement(`http://127.0.0.1:${port}`, httpOverFetch({}), never);
  return tangSealer(`http://${HOST_FROM_GUEST}:${port}`, advertisement);
}

async function sealed(text: string, sealers: (tpm: HostTpm) => readonly Sealer[]): Promise<string> {
  await using swtpm = await startSwtpm();
  await using tpm = swtpm.tpm();
  const [sealer] = sealers(tpm);
  using secret = SecretBytes.take(new TextEncoder().encode(text));
  return sealer ? await sealer(secret, never) : "";
}
