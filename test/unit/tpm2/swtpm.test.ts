import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { LatchkeyError } from "../../../src/system/errors.ts";
import { nameHash } from "../../../src/tpm2/algorithms.ts";
import { allocatedBanks, loadedHandles } from "../../../src/tpm2/capabilities.ts";
import type { Authorization } from "../../../src/tpm2/channel.ts";
import { commands, selfNamed, type TpmCommand } from "../../../src/tpm2/commands.ts";
import { lockoutState } from "../../../src/tpm2/lockout.ts";
import { bankName, pcrSelection } from "../../../src/tpm2/pcr-selection.ts";
import { extendPcr, readPcrs } from "../../../src/tpm2/pcrs.ts";
import { primaryTemplate } from "../../../src/tpm2/primary.ts";
import { openSocket } from "../../../src/tpm2/socket-transport.ts";
import { parseTcti } from "../../../src/tpm2/tcti.ts";
import { Tpm } from "../../../src/tpm2/tpm.ts";
import type { TpmTransport } from "../../../src/tpm2/transport.ts";
import { concat, hex, sized, u16, u32 } from "../../../src/tpm2/wire.ts";
import { RecordingTransport, tpmOver } from "./fakes.ts";
import { extend, neverAborted, type Swtpm, skipReason, startSwtpm, swtpmMissing } from "./swtpm.ts";
import { openToken, readToken } from "./tokens.ts";

// A software TPM takes seconds for an RSA key, and the machine may be busy.
setDefaultTimeout(60_000);

const signal = neverAborted();
const sha256 = nameHash("sha256");
const select = (...pcrs: number[]) => pcrSelection(sha256, pcrs, "token/malformed");

async function codeOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => "no error",
    (error: LatchkeyError) => error.code,
  );
}

/** A command that latchkey itself does not use. */
const command = (name: string, code: number, parameters: Uint8Array, ...handles: number[]): TpmCommand => ({
  name,
  code,
  parameters,
  handles: handles.map(selfNamed),
});

async function send(swtpm: Swtpm, what: TpmCommand, authorization?: Authorization | "password"): Promise<void> {
  await using tpm = swtpm.tpm();
  await tpm.use(signal, (turn) => turn.channel.execute(what, signal, authorization));
}

const openPcr7 = (tpm: Tpm) => openToken(tpm, readToken("tpm2-pcr7-sha256-ecc"));

describe.skipIf(swtpmMissing !== undefined)(`with a software TPM${skipReason}`, () => {
  test.each(["unix", "tcp"] as const)("a token opens over a %s socket, and nothing is left inside", async (socket) => {
    await using swtpm = await startSwtpm({ socket });
    {
      await using tpm = swtpm.tpm();
      expect(await openPcr7(tpm)).toBe("dev1-tpm2-pcr7-sha256-ecc");
    }
    expect(await swtpm.leftInside()).toEqual([]);
  });

  test("tokens asked for at once open one after the other, on one primary", async () => {
    await using swtpm = await startSwtpm();
    await using tpm = swtpm.tpm();
    const ids = ["tpm2-pcr7-sha256-ecc", "tpm2-nopcr-ecc", "tpm2-pcr7-never", "tpm2-pcr1-7-sha256-ecc"];
    const opened = await Promise.all(
      ids.map((id) => openToken(tpm, readToken(id)).catch(({ code }) => code as string)),
    );
    expect(opened).toEqual(ids.map((id) => (id === "tpm2-pcr7-never" ? "tpm2/pcr-mismatch" : `dev1-${id}`)));
    expect(await tpm.use(signal, (turn) => loadedHandles(turn, "transient"))).toEqual([0x80000000]);
  });

  test("no more than two primaries stay loaded, and only what is asked for again is made again", async () => {
    await using swtpm = await startSwtpm();
    {
      const transport = new RecordingTransport(await connect(swtpm));
      await using tpm = tpmOver(transport);
      for (const id of ["tpm2-nopcr-ecc", "tpm2-nopcr-rsa", "tpm2-key-ecc384", "tpm2-key-ecc384", "tpm2-nopcr-rsa"]) {
        expect(await openToken(tpm, readToken(id))).toBe(`dev1-${id}`);
        const loaded = await tpm.use(signal, (turn) => loadedHandles(turn, "transient"));
        expect(loaded.length).toBeLessThanOrEqual(2);
      }
      const made = transport.exchanges.filter(([sent]) => sent.slice(12, 20) === "00000131");
      expect(made.length).toBe(3);
    }
    expect(await swtpm.leftInside()).toEqual([]);
  });

  test("a primary makes room for the token when leftovers take the rest", async () => {
    await using swtpm = await startSwtpm();
    const rude = swtpm.tpm();
    const left = await rude.use(signal, async (turn) => {
      const { handle } = await turn.primaries.get(primaryTemplate("ecc521", sha256), signal);
      turn.channel.forget(handle);
      return handle;
    });
    await rude[Symbol.asyncDispose]();
    {
      await using tpm = swtpm.tpm();
      for (const id of ["tpm2-nopcr-ecc", "tpm2-nopcr-rsa", "tpm2-nopcr-ecc"]) {
        expect(await openToken(tpm, readToken(id))).toBe(`dev1-${id}`);
      }
    }
    expect(await swtpm.leftInside()).toEqual([left]);
  });

  test("leftovers of another program fill it: said in words, and it works once they are gone", async () => {
    await using swtpm = await startSwtpm();
    const handles: number[] = [];
    {
      // Somebody who does not clean up: raw commands, closed without flushing.
      const rude = swtpm.tpm();
      await rude.use(signal, async (turn) => {
        for (const key of ["ecc", "rsa", "ecc384"]) {
          const { handle } = await turn.primaries.get(primaryTemplate(key, sha256), signal);
          turn.channel.forget(handle); // so that nothing flushes it
          handles.push(handle);
        }
      });
      await rude[Symbol.asyncDispose]();
    }
    expect((await swtpm.leftInside()).length).toBe(3);
    {
      await using tpm = swtpm.tpm();
      expect(await codeOf(openPcr7(tpm))).toBe("tpm2/no-room");
    }
    for (const handle of handles) await send(swtpm, commands.flushContext(handle));
    await using tpm = swtpm.tpm();
    expect(await openPcr7(tpm)).toBe("dev1-tpm2-pcr7-sha256-ecc");
  });

  test("an owner password is named", async () => {
    await using swtpm = await startSwtpm();
    await send(swtpm, command("HierarchyChangeAuth", 0x129, sized(Uint8Array.of(1, 2, 3)), 0x40000001), "password");
    await using tpm = swtpm.tpm();
    expect(await codeOf(openToken(tpm, readToken("tpm2-nopcr-ecc")))).toBe("tpm2/owner-password");
    expect((await tpm.use(signal, (turn) => lockoutState(turn))).ownerHasPassword).toBe(true);
  });

  test("a disabled owner hierarchy is named", async () => {
    await using swtpm = await startSwtpm();
    const disable = concat(u32(0x40000001), Uint8Array.of(0));
    await send(swtpm, command("HierarchyControl", 0x121, disable, 0x4000000c), "password");
    await using tpm = swtpm.tpm();
    const error = await openToken(tpm, readToken("tpm2-nopcr-ecc")).catch((thrown: LatchkeyError) => thrown);
    expect((error as LatchkeyError).message).toContain("the owner hierarchy is disabled");
  });

  test("a cleared TPM no longer opens what was sealed to it", async () => {
    await using swtpm = await startSwtpm();
    await send(swtpm, command("Clear", 0x126, new Uint8Array(), 0x4000000c), "password");
    await using tpm = swtpm.tpm();
    expect(await codeOf(openToken(tpm, readToken("tpm2-nopcr-ecc")))).toBe("tpm2/integrity");
  });

  test("a bank that is not active is named", async () => {
    await using swtpm = await startSwtpm();
    const banks = [0x0004, 0x000b, 0x000c, 0x000d].map((bank) =>
      concat(u16(bank), Uint8Array.of(3), bank === 0x0004 ? new Uint8Array(3) : new Uint8Array(3).fill(0xff)),
    );
    await send(swtpm, command("PCR_Allocate", 0x12b, concat(u32(banks.length), ...banks), 0x4000000c), "password");
    await swtpm.restart();
    await using tpm = swtpm.tpm();
    const active = await tpm.use(signal, (turn) => allocatedBanks(turn));
    expect(active.map(({ bankId }) => bankName(bankId))).toEqual(["sha256", "sha384", "sha512"]);
    const error = await openToken(tpm, readToken("tpm2-pcr7-sha1-ecc")).catch((thrown: LatchkeyError) => thrown);
    expect((error as LatchkeyError).code).toBe("tpm2/bank-missing");
    expect((error as LatchkeyError).message).toBe("the TPM's PCR bank sha1 is not active (PCR 7)");
    expect(await openPcr7(tpm)).toBe("dev1-tpm2-pcr7-sha256-ecc");
  });

  test("a TPM that nobody started says so", async () => {
    await using swtpm = await startSwtpm({ state: "new", started: false });
    await using tpm = swtpm.tpm();
    expect(await codeOf(openPcr7(tpm))).toBe("tpm2/not-started");
  });

  test("the lockout state is read", async () => {
    await using swtpm = await startSwtpm();
    await using tpm = swtpm.tpm();
    const state = await tpm.use(signal, (turn) => lockoutState(turn));
    expect(state).toMatchObject({ inLockout: false, ownerHasPassword: false });
    expect(state.maxFailures).toBeGreaterThan(0);
  });

  describe("PCRs", () => {
    test("are read by 8 at a time, in order", async () => {
      await using swtpm = await startSwtpm();
      await using tpm = swtpm.tpm();
      await extend(tpm, 9, 0x000b, new Uint8Array(32).fill(9));
      const all = Array.from({ length: 24 }, (_, pcr) => pcr);
      const values = await tpm.use(signal, (turn) => readPcrs(turn, select(...all)));
      const [value9 = new Uint8Array()] = await tpm.use(signal, (turn) => readPcrs(turn, select(9)));
      expect(values.map((value) => hex(value).slice(0, 2))).toEqual(
        all.map((pcr) => (pcr === 9 ? hex(value9).slice(0, 2) : pcr >= 17 && pcr <= 22 ? "ff" : "00")),
      );
    });

    test("that are extended after unlocking shut what was sealed to them, in every bank", async () => {
      await using swtpm = await startSwtpm();
      await using tpm = swtpm.tpm();
      const before = await valuesInAllBanks(tpm, 7);
      expect(await openPcr7(tpm)).toBe("dev1-tpm2-pcr7-sha256-ecc");
      await tpm.use(signal, (turn) => extendPcr(turn, 7, "latchkey: everything is open"));
      const after = await valuesInAllBanks(tpm, 7);
      expect(before.length).toBe(4);
      expect(after.filter((value, index) => value === before[index])).toEqual([]);
      for (const id of ["tpm2-pcr7-sha256-ecc", "tpm2-pcr7-sha1-ecc", "tpm2-pcr7-sha384-ecc"]) {
        expect(await codeOf(openToken(tpm, readToken(id)))).toBe("tpm2/pcr-mismatch");
      }
    });

    test("of the dynamic root of trust cannot be extended from here", async () => {
      await using swtpm = await startSwtpm();
      await using tpm = swtpm.tpm();
      expect(await codeOf(tpm.use(signal, (turn) => extendPcr(turn, 17, "x")))).toBe("tpm2/refused");
      expect(await codeOf(tpm.use(signal, (turn) => extendPcr(turn, 24, "x")))).toBe("config/invalid-value");
    });
  });

  describe("work that is no longer wanted", () => {
    test("ends at once while another's command runs, and leaves nothing inside", async () => {
      await using swtpm = await startSwtpm();
      {
        await using tpm = swtpm.tpm();
        const unwanted = new AbortController();
        const opening = openToken(tpm, readToken("tpm2-nopcr-rsa"), unwanted.signal);
        setTimeout(() => unwanted.abort(), 3);
        expect(await codeOf(opening)).toBe("tpm2/interrupted");
        expect(await codeOf(openToken(tpm, readToken("tpm2-nopcr-ecc"), AbortSignal.abort()))).toBe("tpm2/interrupted");
        expect(await openPcr7(tpm)).toBe("dev1-tpm2-pcr7-sha256-ecc");
      }
      expect(await swtpm.leftInside()).toEqual([]);
    });

    test("ends at every step without leaving anything", async () => {
      await using swtpm = await startSwtpm();
      const outcomes = new Set<string>();
      for (let step = 1; step <= 7; step++) {
        const unwanted = new AbortController();
        let sent = 0;
        const countingDown = async (): Promise<void> => {
          sent += 1;
          if (sent === step) unwanted.abort();
        };
        {
          const transport = new RecordingTransport(await connect(swtpm), countingDown);
          await using tpm = tpmOver(transport);
          outcomes.add(await codeOf(openToken(tpm, readToken("tpm2-pcr7-sha256-ecc"), unwanted.signal)));
        }
        expect([step, await swtpm.leftInside()]).toEqual([step, []]);
      }
      expect([...outcomes]).toEqual(["tpm2/interrupted"]);
    });
  });

  test("a TPM that goes away is an error, and one that comes back works again", async () => {
    await using swtpm = await startSwtpm();
    await using tpm = swtpm.tpm();
    expect(await openPcr7(tpm)).toBe("dev1-tpm2-pcr7-sha256-ecc");
    // One more command, so that nothing is under way that would find the loss first.
    expect(await tpm.use(signal, (turn) => loadedHandles(turn, "session"))).toEqual([]);
    await swtpm.restart();
    expect(await codeOf(openPcr7(tpm))).toBe("tpm2/unreachable");
    expect(await openPcr7(tpm)).toBe("dev1-tpm2-pcr7-sha256-ecc");
  });

  test("a second user of swtpm's one connection is told, not hung", async () => {
    await using swtpm = await startSwtpm();
    await using first = swtpm.tpm();
    expect(await openPcr7(first)).toBe("dev1-tpm2-pcr7-sha256-ecc");
    await using second = new Tpm(parseTcti(swtpm.tcti), {
      limits: { command: 200, keyGeneration: 200, retry: 200, close: 200 },
    });
    expect(["tpm2/timed-out", "tpm2/unreachable"]).toContain(await codeOf(openPcr7(second)));
  });
});

async function connect(swtpm: Swtpm): Promise<TpmTransport> {
  const address = parseTcti(swtpm.tcti);
  if (address.kind !== "unix") throw new Error("not a unix socket");
  return await openSocket(address, "swtpm", signal);
}

async function valuesInAllBanks(tpm: Tpm, pcr: number): Promise<string[]> {
  return await tpm.use(signal, async (turn) => {
    const values: string[] = [];
    for (const name of ["sha1", "sha256", "sha384", "sha512"]) {
      const [value = new Uint8Array()] = await readPcrs(turn, { bank: nameHash(name), pcrs: [pcr] });
      values.push(hex(value));
    }
    return values;
  });
}
