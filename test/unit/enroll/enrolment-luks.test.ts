import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { tpm2Wish } from "../../../src/enroll/wish.ts";
import { sortedJson } from "../../../src/jose/json.ts";
import { runCryptsetup } from "../../../src/providers/luks/cryptsetup.ts";
import { openToken } from "../../../src/sources/clevis/decrypt.ts";
import { parseToken } from "../../../src/sources/clevis/token.ts";
import { tpm2Opener } from "../../../src/sources/clevis/tpm2-open.ts";
import { toolsWith } from "../sources/clevis/fixtures.ts";
import { skipReason, startSwtpm, swtpmMissing } from "../tpm2/swtpm.ts";
import { LUKS_PASSPHRASE, LuksFile, never, play, textOf, whyNoLuks } from "./scene.ts";

setDefaultTimeout(60_000);

const wish = tpm2Wish({});
const passphrase = LUKS_PASSPHRASE;
const whyNot = whyNoLuks === undefined ? skipReason : ` (skipped: ${whyNoLuks})`;

describe.skipIf(whyNoLuks !== undefined || swtpmMissing !== undefined)(`a LUKS2 header${whyNot}`, () => {
  test("gets a key slot that the token in it opens, and nothing else of it changes", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using disk = new LuksFile();
    const { said, error, enrolled } = await play({ wish, target: await disk.target(), passphrase, swtpm });
    expect(error).toBeUndefined();
    expect(enrolled?.openedHere).toBe(true);
    expect(said).toEqual([
      `take the passphrase of data from a test, and prove it on ${disk.image}`,
      "make a random passphrase for a new key slot",
      "seal it to this machine's TPM, PCR 7",
      "open the new token again",
      `add key slot 1 to ${disk.image}`,
      `prove on ${disk.image} that it opens key slot 1`,
      `write the token into the header of ${disk.image}, as token 0 for key slot 1`,
    ]);
    const { slots, tokens } = await disk.metadata();
    expect([...slots]).toEqual([0, 1]);
    const token = tokens.get(0);
    expect(Object.keys(token ?? {})).toEqual(["type", "keyslots", "jwe"]);
    expect(token).toMatchObject({ type: "clevis", keyslots: ["1"] });
    await using tpm = swtpm.tpm();
    using secret = await openToken(parseToken(sortedJson(token)), toolsWith({ tpm2: tpm2Opener(tpm) }), never);
    expect(textOf(secret)).toMatch(/^[A-Za-z0-9_-]{54}$/);
    await disk.device().prove(secret, 1, never);
    disk.cryptsetup(["open", "--test-passphrase", "--key-slot", "0", "--key-file", "-", disk.image]);
    // Made as clevis makes it: the key is random, so there is nothing to slow down.
    const { keyslots } = JSON.parse(disk.cryptsetup(["luksDump", "--dump-json-metadata", disk.image]));
    expect(keyslots["1"].kdf).toMatchObject({ type: "pbkdf2", iterations: 1000 });
    await tpm[Symbol.asyncDispose]();
    expect(await swtpm.leftInside()).toEqual([]);
  });

  test("gets a second one beside the first", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using disk = new LuksFile();
    for (const slot of [1, 2]) {
      const { error } = await play({ wish, target: await disk.target(), passphrase, swtpm });
      expect(error).toBeUndefined();
      expect([...(await disk.metadata()).slots]).toEqual(Array.from({ length: slot + 1 }, (_, index) => index));
    }
    const target = await disk.target();
    expect(target.kind === "luks2" && target.boundSlots).toEqual([1, 2]);
  });

  test("is left as it was after a wrong passphrase, without asking the TPM for anything", async () => {
    using disk = new LuksFile();
    const before = readFileSync(disk.image);
    const { error, said } = await play({ wish, target: await disk.target(), passphrase: "wrong" });
    expect(error?.code).toBe("luks/wrong-passphrase");
    expect(error?.outcome).toBe("wrong-credential");
    expect(said.length).toBe(1);
    expect(readFileSync(disk.image).equals(before)).toBe(true);
  });

  test("never gets slot 0, though it is free", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using disk = new LuksFile("--key-slot", "5");
    const { error } = await play({ wish, target: await disk.target(), passphrase, swtpm });
    expect(error).toBeUndefined();
    expect([...(await disk.metadata()).slots].sort()).toEqual([1, 5]);
  });

  test.each([
    ["import", "token import ended with status 1: no room"],
    ["open", "open ended with status 4: no room"],
  ])("is as before when cryptsetup fails at %s", async (action, message) => {
    await using swtpm = await startSwtpm({ state: "new" });
    using disk = new LuksFile();
    let opens = 0;
    const target = await disk.target((call) => {
      // The first "open" proves the passphrase, the second the new slot.
      if (call.args[0] === "open") opens += 1;
      const fails = action === "open" ? call.args[0] === "open" && opens === 2 : call.args[1] === action;
      if (fails) return Promise.resolve({ status: action === "open" ? 4 : 1, output: "", complaint: "no room" });
      return runCryptsetup(call);
    });
    const { error, said } = await play({ wish, target, passphrase, swtpm });
    expect(error?.code).toBe("luks/tool-failed");
    expect(error?.message).toBe(`${disk.image}: cryptsetup ${message}`);
    expect(said.filter((line) => line.startsWith("undo: ")).at(-1)).toBe(`undo: take key slot 1 out of ${disk.image}`);
    const { slots, tokens } = await disk.metadata();
    expect([[...slots], tokens.size]).toEqual([[0], 0]);
    disk.cryptsetup(["open", "--test-passphrase", "--key-file", "-", disk.image]);
  });

  test("loses slot and token again when the token in it is not what was written", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using disk = new LuksFile();
    let dumps = 0;
    const target = await disk.target(async (call) => {
      const end = await runCryptsetup(call);
      if (call.args[0] !== "luksDump") return end;
      dumps += 1;
      return dumps === 1 ? { ...end, output: end.output.replace('"clevis"', '"clovis"') } : end;
    });
    const { error, said } = await play({ wish, target, passphrase, swtpm });
    expect(error?.code).toBe("enroll/proof-failed");
    expect(said.slice(-2)).toEqual([
      `undo: take token 0 out of ${disk.image}`,
      `undo: take key slot 1 out of ${disk.image}`,
    ]);
    const { slots, tokens } = await disk.metadata();
    expect([[...slots], tokens.size]).toEqual([[0], 0]);
  });

  test("keeps a slot that somebody else filled meanwhile", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using disk = new LuksFile();
    const target = await disk.target((call) => {
      if (call.args[0] === "luksAddKey") {
        disk.cryptsetup(
          ["luksAddKey", "-q", "--key-slot", "1", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", disk.image],
          `${passphrase}\nsomebody else's`,
        );
      }
      return runCryptsetup(call);
    });
    const { error } = await play({ wish, target, passphrase, swtpm });
    expect(error?.message).toContain("Key slot 1 is full");
    disk.cryptsetup(["open", "--test-passphrase", "--key-slot", "1", "--key-file", "-", disk.image], "somebody else's");
  });

  test("says what is left in it when it cannot be taken out", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using disk = new LuksFile();
    const target = await disk.target((call) => {
      const fails = call.args[1] === "import" || call.args[0] === "luksKillSlot";
      return fails ? Promise.resolve({ status: 1, output: "", complaint: "broken" }) : runCryptsetup(call);
    });
    const { error } = await play({ wish, target, passphrase, swtpm });
    expect(error?.code).toBe("enroll/left-behind");
    expect(error?.hint).toBe(`take it out by hand: cryptsetup luksKillSlot ${disk.image} 1`);
    expect(error?.message).toContain("token import ended with status 1: broken; and take key slot 1 out");
  });

  test("loses the slot even when its token cannot be taken out, and the other way round", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using disk = new LuksFile();
    let dumps = 0;
    const target = await disk.target(async (call) => {
      if (call.args[1] === "remove") return { status: 1, output: "", complaint: "broken" };
      const end = await runCryptsetup(call);
      if (call.args[0] !== "luksDump") return end;
      dumps += 1;
      return dumps === 1 ? { ...end, output: end.output.replace('"clevis"', '"clovis"') } : end;
    });
    const { error } = await play({ wish, target, passphrase, swtpm });
    expect(error?.code).toBe("enroll/left-behind");
    expect(error?.hint).toBe(`take it out by hand: cryptsetup token remove --token-id 0 ${disk.image}`);
    expect([...(await disk.metadata()).slots]).toEqual([0]);
  });

  test("is as before when it is interrupted between slot and token", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using disk = new LuksFile();
    const controller = new AbortController();
    const target = await disk.target(async (call) => {
      const end = await runCryptsetup(call);
      if (call.args[0] === "luksAddKey") controller.abort();
      return end;
    });
    const means = { signal: controller.signal };
    const { error } = await play({ wish, target, passphrase, swtpm, means });
    expect(error?.code).toBe("enroll/interrupted");
    expect([...(await disk.metadata()).slots]).toEqual([0]);
  });

  test("is left alone when there is no TPM", async () => {
    using disk = new LuksFile();
    const { error } = await play({ wish, target: await disk.target(), passphrase });
    expect(error?.code).toBe("tpm2/absent");
    expect([...(await disk.metadata()).slots]).toEqual([0]);
  });
});
