import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { LatchkeyError } from "../../../src/system/errors.ts";
import { nameHash } from "../../../src/tpm2/algorithms.ts";
import type { Authorization } from "../../../src/tpm2/channel.ts";
import { answerReader, commands, type NamedHandle } from "../../../src/tpm2/commands.ts";
import { lockoutState } from "../../../src/tpm2/lockout.ts";
import { primaryTemplate } from "../../../src/tpm2/primary.ts";
import { TpmSession } from "../../../src/tpm2/session.ts";
import type { Tpm, TpmTurn } from "../../../src/tpm2/tpm.ts";
import { concat, sized, u16, u32 } from "../../../src/tpm2/wire.ts";
import { neverAborted, skipReason, startSwtpm, swtpmMissing } from "./swtpm.ts";
import { openToken, readToken } from "./tokens.ts";

// A software TPM takes seconds for an RSA key, and the machine may be busy.
setDefaultTimeout(60_000);

const signal = neverAborted();
const sha256 = nameHash("sha256");
const openPcr7 = (tpm: Tpm) => openToken(tpm, readToken("tpm2-pcr7-sha256-ecc"));

async function codeOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => "no error",
    (error: LatchkeyError) => error.code,
  );
}

/** A password session with a password. */
const password = (text: string): Authorization => ({
  authorize: () => concat(u32(0x40000009), u16(0), Uint8Array.of(0), sized(new TextEncoder().encode(text))),
  verify: () => undefined,
});

/** An object with a password that counts for the dictionary attack protection; clevis makes none like it. */
async function protectedObject({ channel, primaries }: TpmTurn): Promise<NamedHandle> {
  const primary = await primaries.get(primaryTemplate("ecc", sha256), signal);
  const secret = new TextEncoder().encode("secret");
  const sensitive = sized(concat(sized(new TextEncoder().encode("right")), sized(secret)));
  const template = concat(u16(0x0008), u16(sha256.id), u32(0x52), u16(0), u16(0x0010), u16(0));
  const made = await channel.execute(commands.create(primary, sensitive, template), signal, "password");
  const reader = answerReader("Create", made.parameters);
  const [privateArea, publicArea] = [reader.sizedWhole(), reader.sizedWhole()];
  const { handle } = await channel.execute(commands.load(primary, privateArea, publicArea), signal, "password");
  return { handle, name: new Uint8Array() };
}

describe.skipIf(swtpmMissing !== undefined)(`a TPM that others have used up${skipReason}`, () => {
  test("in lockout opens no token, since the primary counts there, and says for how long", async () => {
    await using swtpm = await startSwtpm();
    await using tpm = swtpm.tpm();
    const answers: string[] = [];
    await tpm.use(signal, async (turn) => {
      const object = await protectedObject(turn);
      for (let attempt = 0; attempt < 5; attempt++) {
        answers.push(await codeOf(turn.channel.execute(commands.unseal(object), signal, password("wrong"))));
      }
      await turn.channel.flush(object.handle);
    });
    expect(answers[0]).toBe("tpm2/refused");
    expect(answers.at(-1)).toBe("tpm2/lockout");
    expect((await tpm.use(signal, (turn) => lockoutState(turn))).inLockout).toBe(true);
    const error = await openPcr7(tpm).catch((thrown: LatchkeyError) => thrown);
    expect((error as LatchkeyError).message).toContain(
      "the TPM refused Load: it is locked after too many wrong passwords",
    );
    expect((error as LatchkeyError).hint).toStartWith("it takes one more try within 17 min of running");
  });

  test("opened with tokens that fail never gets into lockout", async () => {
    await using swtpm = await startSwtpm();
    await using tpm = swtpm.tpm();
    const before = await tpm.use(signal, (turn) => lockoutState(turn));
    for (const id of ["tpm2-foreign", "tpm2-pcr7-never", "tpm2-wrong-primary-key-type", "tpm2-priv-flipped"]) {
      expect(await codeOf(openToken(tpm, readToken(id)))).toStartWith("tpm2/");
    }
    const after = await tpm.use(signal, (turn) => lockoutState(turn));
    expect(after.failures).toBe(before.failures);
  });

  test("with no room for a session says so", async () => {
    await using swtpm = await startSwtpm();
    {
      await using rude = swtpm.tpm();
      await rude.use(signal, async (turn) => {
        const primary = await turn.primaries.get(primaryTemplate("ecc", sha256), signal);
        for (let count = 0; count < 3; count++) {
          const { handle } = await TpmSession.start(turn, primary, "hmac", sha256, "encryptsResponse");
          turn.channel.forget(handle);
        }
      });
    }
    const leftovers = await swtpm.leftInside();
    expect(leftovers.length).toBe(3);
    {
      await using tpm = swtpm.tpm();
      const error = await openPcr7(tpm).catch((thrown: LatchkeyError) => thrown);
      expect((error as LatchkeyError).message).toContain("all its room for sessions is taken");
      expect((error as LatchkeyError).hint).toContain("/dev/tpmrm0");
    }
    expect(await swtpm.leftInside()).toEqual(leftovers);
  });
});
