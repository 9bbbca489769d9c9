import { describe, expect, test } from "bun:test";
import { tpm2Opener } from "../../../src/sources/clevis/tpm2-open.ts";
import { sealTpm2Key } from "../../../src/sources/clevis/tpm2-seal.ts";
import type { LatchkeyError } from "../../../src/system/errors.ts";
import { SecretBytes } from "../../../src/system/secret-bytes.ts";
import { hex } from "../../../src/tpm2/wire.ts";
import {
  loadTranscript,
  repeatableRandom,
  replay,
  response,
  ScriptedTransport,
  type Transcript,
  tpmOver,
} from "./fakes.ts";
import { openToken, pinHeader, readToken } from "./tokens.ts";

/** Opens with a recorded TPM; everything latchkey sends must be what it sent then, to the octet. */
async function openRecorded(transcript: Transcript, token: string): Promise<string> {
  const transport = replay(transcript);
  let opened: string;
  {
    await using tpm = tpmOver(transport, { random: repeatableRandom() });
    opened = await openToken(tpm, readToken(token));
  }
  expect([transport.sent.length, transport.closed]).toEqual([transcript.exchanges.length, 1]);
  return opened;
}

describe("with a recorded TPM", () => {
  test.each([
    ["open-without-pcrs", "tpm2-nopcr-ecc"],
    ["open-pcr-7", "tpm2-pcr7-sha256-ecc"],
    ["open-pcr-race", "tpm2-pcr7-sha256-ecc"],
  ])("%s: %s opens, by the same octets as then", async (name, token) => {
    expect(await openRecorded(loadTranscript(name), token)).toBe(`dev1-${token}`);
  });

  test.each([
    ["foreign", "tpm2-foreign", "tpm2/integrity"],
    ["pcr-mismatch", "tpm2-pcr7-never", "tpm2/pcr-mismatch"],
  ])("%s: %s ends in its reason, with everything flushed", async (name, token, code) => {
    const error = await openRecorded(loadTranscript(name), token).catch((thrown: LatchkeyError) => thrown);
    expect((error as LatchkeyError).code).toBe(code as never);
    const sent = loadTranscript(name).exchanges.map(([command]) => command.slice(12, 20));
    const made = sent.filter((code) => code === "00000131").length;
    expect(sent.filter((code) => code === "00000165").length).toBe(made);
  });

  test("a PCR mismatch is told by one PCR_Read: no key is made, nothing is loaded", () => {
    expect(loadTranscript("pcr-mismatch").exchanges.map(([command]) => command.slice(12, 20))).toEqual(["0000017e"]);
  });

  test("the unsealed key never crosses in clear", async () => {
    const header = pinHeader(readToken("tpm2-pcr7-sha256-ecc"));
    const transcript = loadTranscript("open-pcr-7");
    await using tpm = tpmOver(replay(transcript), { random: repeatableRandom() });
    using key = await tpm2Opener(tpm).open(header, new AbortController().signal);
    const wire = transcript.exchanges.flat().join("");
    expect(wire).not.toContain(hex(key.bytes));
    expect(wire).not.toContain(hex(new TextEncoder().encode('"k":"')));
  });

  test("a sealed key never crosses in clear either", async () => {
    const transcript = loadTranscript("seal-pcr-7");
    await using tpm = tpmOver(replay(transcript), { random: repeatableRandom() });
    using key = SecretBytes.take(new Uint8Array(32).fill(0x42));
    const header = await sealTpm2Key(tpm, key, { pcrs: [7] }, new AbortController().signal);
    expect(header).toMatchObject({ hash: "sha256", key: "ecc", pcr_bank: "sha256", pcr_ids: "7" });
    expect(transcript.exchanges.flat().join("")).not.toContain(hex(new TextEncoder().encode('"k":"')));
  });

  test("a retry may be asked for at every step", async () => {
    const inner = replay(loadTranscript("open-pcr-7"));
    let asked = false;
    const transport = new ScriptedTransport((command) => {
      asked = !asked;
      return asked ? response(0x922) : inner.transmit(command, new AbortController().signal);
    });
    await using tpm = tpmOver(transport, { random: repeatableRandom() });
    expect(await openToken(tpm, readToken("tpm2-pcr7-sha256-ecc"))).toBe("dev1-tpm2-pcr7-sha256-ecc");
  });

  test("an Unseal answer with one bit changed is not believed", async () => {
    const { exchanges, what } = loadTranscript("open-pcr-7");
    const unseal = exchanges.findIndex(([command]) => command.slice(12, 20) === "0000015e");
    const answer = Buffer.from(exchanges[unseal]?.[1] ?? "", "hex");
    for (const at of [16, 40, 60, answer.length - 40, answer.length - 1]) {
      const changed = Buffer.from(answer);
      changed[at] = (changed[at] ?? 0) ^ 1;
      const forged = exchanges.with(unseal, [exchanges[unseal]?.[0] ?? "", hex(changed)]);
      await using tpm = tpmOver(replay({ what, exchanges: forged }), { random: repeatableRandom() });
      const error = await openToken(tpm, readToken("tpm2-pcr7-sha256-ecc")).catch((thrown: LatchkeyError) => thrown);
      expect([at, (error as LatchkeyError).code]).toEqual([at, "tpm2/forged-answer"]);
    }
  });
});
