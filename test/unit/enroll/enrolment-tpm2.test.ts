import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { machineMeans } from "../../../src/enroll/machine-means.ts";
import { planEnrolment } from "../../../src/enroll/steps.ts";
import { tpm2Wish } from "../../../src/enroll/wish.ts";
import { type HashName, nameHash } from "../../../src/tpm2/algorithms.ts";
import { selfNamed, type TpmCommand } from "../../../src/tpm2/commands.ts";
import { pcrSelection } from "../../../src/tpm2/pcr-selection.ts";
import { pcrPolicyDigest } from "../../../src/tpm2/policy.ts";
import { concat, u16, u32 } from "../../../src/tpm2/wire.ts";
import { errorOf } from "../sources/clevis/make-tokens.ts";
import { type Swtpm, skipReason, startSwtpm, swtpmMissing } from "../tpm2/swtpm.ts";
import { bcachefsTarget, extend, FakePerson, Folder, never, nobody, opens, PASSPHRASE, play } from "./scene.ts";

// Each derivation of a bcachefs passphrase takes 0.4 s, on a busy machine ten times that.
setDefaultTimeout(120_000);

/** TPM2_PCR_Allocate, which holds from the next start (TPM 2.0 Part 3 section 22.5). */
async function keepOnly(swtpm: Swtpm, kept: HashName): Promise<void> {
  const banks = (["sha1", "sha256", "sha384", "sha512"] as const).map((name) =>
    concat(u16(nameHash(name).id), Uint8Array.of(3), new Uint8Array(3).fill(name === kept ? 0xff : 0)),
  );
  const platform = selfNamed(0x4000000c);
  const command: TpmCommand = {
    name: "PCR_Allocate",
    code: 0x12b,
    handles: [platform],
    parameters: concat(u32(banks.length), ...banks),
    givesHandle: false,
    slow: false,
  };
  await using tpm = swtpm.tpm();
  await tpm.use(never, (turn) => turn.channel.execute(command, turn.signal, "password"));
  await swtpm.restart();
}

describe.skipIf(swtpmMissing !== undefined)(`a token for the TPM beside a bcachefs${skipReason}`, () => {
  test("holds the passphrase, is for root alone, and is there only when it has opened the volume", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using folder = new Folder();
    const path = folder.file("etc/latchkey/root.jwe");
    const target = await bcachefsTarget("default", path);
    const { said, error, enrolled } = await play({ wish: tpm2Wish({}), target, passphrase: PASSPHRASE, swtpm });
    expect(error).toBeUndefined();
    expect(said).toEqual([
      "take the passphrase of root from a test, and prove it on bcachefs on /dev/sda2",
      "seal it to this machine's TPM, PCR 7",
      "open the new token again",
      "prove what came out of it on bcachefs on /dev/sda2",
      `write ${path}`,
    ]);
    expect([enrolled?.openedHere, enrolled?.old]).toEqual([true, undefined]);
    expect(await opens(path, swtpm)).toBe(PASSPHRASE);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder.file("etc/latchkey"))).toEqual(["root.jwe"]);
    expect(await swtpm.leftInside()).toEqual([]);
  });

  test("is not made for a wrong passphrase", async () => {
    using folder = new Folder();
    const target = await bcachefsTarget("default", folder.file("root.jwe"));
    const { error } = await play({ wish: tpm2Wish({}), target, passphrase: "wrong" });
    expect([error?.code, error?.outcome]).toEqual(["bcachefs/wrong-passphrase", "wrong-credential"]);
    expect(readdirSync(folder.path)).toEqual([]);
  });

  test("is made after a mistyped passphrase and a right one, not after three wrong ones", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using folder = new Folder();
    const target = await bcachefsTarget("default", folder.file("root.jwe"));
    const person = new FakePerson("mistyped", PASSPHRASE);
    const first = await play({ wish: tpm2Wish({}), target, person, swtpm });
    expect(first.error).toBeUndefined();
    expect(first.said[1]).toBe("  root: wrong passphrase for bcachefs on /dev/sda2");
    expect(person.asked).toEqual(Array(2).fill("Passphrase for root (bcachefs on /dev/sda2)"));
    const tired = new FakePerson("1", "2", "3", PASSPHRASE);
    const second = await play({ wish: tpm2Wish({}), target, person: tired, swtpm, force: true });
    expect(second.error?.code).toBe("bcachefs/wrong-passphrase");
    const declines = await play({ wish: tpm2Wish({}), target, person: new FakePerson(undefined), swtpm });
    expect(declines.error?.code).toBe("prompt/cancelled");
    expect((await play({ wish: tpm2Wish({}), target, person: nobody })).error?.code).toBe("prompt/no-console");
  });

  test("takes the place of another only when somebody agrees, and the other is kept", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using folder = new Folder();
    const path = folder.file("root.jwe");
    writeFileSync(path, "the old one", { mode: 0o644 });
    const target = await bcachefsTarget("default", path);
    const scene = { wish: tpm2Wish({}), target, passphrase: PASSPHRASE, swtpm };
    for (const person of [nobody, new FakePerson(false)]) {
      const { error, said } = await play({ ...scene, person });
      expect([error?.code, error?.outcome]).toEqual(["enroll/token-exists", "refused"]);
      expect(said).toEqual([`ask whether ${path} may give way to a new token`]);
      expect(readFileSync(path, "latin1")).toBe("the old one");
    }
    const agreed = await play({ ...scene, person: new FakePerson(true) });
    expect(agreed.enrolled?.old).toBe(`${path}.old`);
    expect(agreed.said.at(-1)).toBe(`keep ${path} as ${path}.old, and write the new token`);
    expect(readFileSync(`${path}.old`, "latin1")).toBe("the old one");
    expect(statSync(`${path}.old`).mode & 0o777).toBe(0o600);
    expect(await opens(path, swtpm)).toBe(PASSPHRASE);
    const forced = await play({ ...scene, force: true });
    expect(forced.error).toBeUndefined();
    expect(forced.said[0]).toStartWith("take the passphrase");
  });

  test("sealed to other values than today's is proved in all but that, and opens when they come", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using folder = new Folder();
    const path = folder.file("root.jwe");
    const target = await bcachefsTarget("default", path);
    // The latch has fallen, as it has whenever somebody sits at the running machine.
    await extend(swtpm, 15);
    const wish = tpm2Wish({ pcrs: "7,15" });
    const { error, enrolled } = await play({ wish, target, passphrase: PASSPHRASE, swtpm });
    expect(error).toBeUndefined();
    expect(enrolled?.openedHere).toBe(false);
    expect((await errorOf(() => opens(path, swtpm))).code).toBe("tpm2/pcr-mismatch");
    expect(await swtpm.leftInside()).toEqual([]);
    await swtpm.restart();
    expect(await opens(path, swtpm)).toBe(PASSPHRASE);
    await extend(swtpm, 15);
    expect((await errorOf(() => opens(path, swtpm))).code).toBe("tpm2/pcr-mismatch");
  });

  test("is sealed to a policy digest that was made elsewhere", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using folder = new Folder();
    const path = folder.file("root.jwe");
    const target = await bcachefsTarget("default", path);
    await extend(swtpm, 7);
    const selection = pcrSelection(nameHash("sha256"), [7], "usage/invalid");
    const digest = pcrPolicyDigest(nameHash("sha256"), selection, [new Uint8Array(32)]);
    const wish = tpm2Wish({ policyFromDigest: Buffer.from(digest).toString("hex") });
    const { enrolled } = await play({ wish, target, passphrase: PASSPHRASE, swtpm });
    expect(enrolled?.openedHere).toBe(false);
    await swtpm.restart();
    expect(await opens(path, swtpm)).toBe(PASSPHRASE);
  });

  test("is not kept when it does not open to the values of today that it was sealed to", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using folder = new Folder();
    const target = await bcachefsTarget("default", folder.file("root.jwe"));
    const { openTools } = machineMeans({ tcti: swtpm.tcti, authorityFile: undefined });
    // Something extends the PCR between the sealing and the proof.
    const say = (line: string): void => void (line === "open the new token again" && extending.push(extend(swtpm, 7)));
    const extending: Promise<void>[] = [];
    const slowTools = () => {
      const tools = openTools();
      const open = async (...args: Parameters<NonNullable<typeof tools.tpm2>["open"]>) => {
        await Promise.all(extending);
        return await (tools.tpm2?.open(...args) ?? Promise.reject(new Error("no TPM")));
      };
      return { ...tools, tpm2: { open } };
    };
    const means = { say, openTools: slowTools };
    const { error } = await play({ wish: tpm2Wish({}), target, passphrase: PASSPHRASE, swtpm, means });
    expect(error?.code).toBe("tpm2/pcr-mismatch");
    expect(readdirSync(folder.path)).toEqual([]);
  });

  test("is not kept when another TPM stands there at the proof", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    await using other = await startSwtpm({ state: "new" });
    using folder = new Folder();
    const target = await bcachefsTarget("default", folder.file("root.jwe"));
    let asked = 0;
    const openTpm = () => (asked++ === 0 ? swtpm.tpm() : other.tpm());
    // Also where the PCRs do not allow opening it today: then the other TPM fails to load it.
    for (const wish of [tpm2Wish({}), tpm2Wish({ policyFromDigest: "00".repeat(32) })]) {
      asked = 0;
      const played = await play({ wish, target, passphrase: PASSPHRASE, swtpm: other, means: { openTpm } });
      expect(played.error?.code).toBe("tpm2/integrity");
      expect(readdirSync(folder.path)).toEqual([]);
    }
  });

  test("under RSA, without PCRs, opens as well", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using folder = new Folder();
    const path = folder.file("root.jwe");
    const target = await bcachefsTarget("default", path);
    const { error } = await play({
      wish: tpm2Wish({ key: "rsa", pcrs: "none" }),
      target,
      passphrase: PASSPHRASE,
      swtpm,
    });
    expect(error).toBeUndefined();
    await extend(swtpm, 7);
    expect(await opens(path, swtpm)).toBe(PASSPHRASE);
  });

  test("takes the next bank where the TPM keeps no sha256, and says so", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using folder = new Folder();
    const path = folder.file("root.jwe");
    await keepOnly(swtpm, "sha384");
    const target = await bcachefsTarget("default", path);
    const { error, notes } = await play({ wish: tpm2Wish({}), target, passphrase: PASSPHRASE, swtpm });
    expect(error).toBeUndefined();
    expect(notes).toEqual(["the TPM's PCR bank sha256 is off: bank sha384"]);
    expect(await opens(path, swtpm)).toBe(PASSPHRASE);
    const wanted = await play({ wish: tpm2Wish({ pcrBank: "sha256" }), target, passphrase: PASSPHRASE, swtpm });
    expect(wanted.error?.message).toBe("the TPM keeps no bank sha256 with PCR 7");
    expect(wanted.error?.hint).toStartWith("it keeps sha384: choose one with --pcr-bank");
  });

  test("names the banks that the TPM keeps when the wanted one is missing", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using folder = new Folder();
    const target = await bcachefsTarget("default", folder.file("root.jwe"));
    const wish = tpm2Wish({ pcrBank: "sm3_256" });
    const { error } = await play({ wish, target, passphrase: PASSPHRASE, swtpm });
    expect(error?.code).toBe("tpm2/bank-missing");
    expect(error?.message).toBe("the TPM keeps no bank sm3_256 with PCR 7");
    expect(error?.hint).toMatch(/^it keeps .*sha256.*: choose one with --pcr-bank/);
    expect(await swtpm.leftInside()).toEqual([]);
  });
});

test("a bcachefs gets no recovery key, and the reason is said", async () => {
  using folder = new Folder();
  const { facts } = await bcachefsTarget("default", folder.file("root.jwe"));
  const error = await errorOf(() => planEnrolment({ method: "recovery" }, facts, { from: "", force: false }));
  expect([error.code, error.outcome]).toEqual(["enroll/one-passphrase", "refused"]);
  expect(error.message).toContain("one passphrase and no key slots");
  expect(error.hint).toContain("write it down");
});
