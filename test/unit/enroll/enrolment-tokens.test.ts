import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { planEnrolment } from "../../../src/enroll/steps.ts";
import { sssWish, tangWish, tpm2Wish, type Wish } from "../../../src/enroll/wish.ts";
import { thumbprint } from "../../../src/jose/ec-jwk.ts";
import { openToken } from "../../../src/sources/clevis/decrypt.ts";
import { httpOverFetch } from "../../../src/sources/clevis/http.ts";
import { fetchAdvertisement } from "../../../src/sources/clevis/tang-advertisement.ts";
import { parseToken } from "../../../src/sources/clevis/token.ts";
import { tpm2Opener } from "../../../src/sources/clevis/tpm2-open.ts";
import { type HashName, nameHash } from "../../../src/tpm2/algorithms.ts";
import { selfNamed, type TpmCommand } from "../../../src/tpm2/commands.ts";
import { pcrSelection } from "../../../src/tpm2/pcr-selection.ts";
import { extendPcr } from "../../../src/tpm2/pcrs.ts";
import { pcrPolicyDigest } from "../../../src/tpm2/policy.ts";
import { concat, u16, u32 } from "../../../src/tpm2/wire.ts";
import { fixtures, toolsWith } from "../sources/clevis/fixtures.ts";
import { errorOf } from "../sources/clevis/make-tokens.ts";
import { hasTangd, startTangd } from "../sources/clevis/tangd.ts";
import { type Swtpm, skipReason, startSwtpm, swtpmMissing } from "../tpm2/swtpm.ts";
import { bcachefsTarget, FakePerson, Folder, never, nobody, play, textOf } from "./scene.ts";

// Each derivation of a bcachefs passphrase takes 0.4 s, on a busy machine ten times that.
setDefaultTimeout(120_000);

const PASSPHRASE = "correct horse battery staple";

async function opens(path: string, swtpm?: Swtpm): Promise<string> {
  await using tpm = swtpm?.tpm();
  const token = parseToken(readFileSync(path, "latin1"));
  using secret = await openToken(token, toolsWith(tpm ? { tpm2: tpm2Opener(tpm) } : {}), never);
  return textOf(secret);
}

/** Extends a PCR in every bank, as firmware or the latch does. */
async function extend(swtpm: Swtpm, pcr: number): Promise<void> {
  await using tpm = swtpm.tpm();
  await tpm.use(never, (turn) => extendPcr(turn, pcr, "a test"));
}

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

const whyNoTang = hasTangd ? "" : " (skipped: tangd is not installed)";

/** Each with keys of its own, of the fixtures. */
async function startServers(...names: readonly ("a" | "b")[]) {
  const scope = new DisposableStack();
  const servers = names.map((name) => {
    const folder = scope.use(new Folder());
    cpSync(join(fixtures, "tang", name), folder.path, { recursive: true });
    const server = scope.use(startTangd(folder.path));
    return { url: `http://127.0.0.1:${server.port}`, server, folder };
  });
  const thumbprints: string[] = [];
  for (const { url } of servers) {
    const { signingKeys } = await fetchAdvertisement(url, httpOverFetch(), never);
    thumbprints.push(...signingKeys.slice(0, 1).map((key) => thumbprint(key)));
  }
  return { servers, thumbprints, [Symbol.dispose]: () => scope.dispose() };
}

describe.skipIf(!hasTangd)(`a token for a Tang server${whyNoTang}`, () => {
  test.each(["thumbprint", "file", "question"] as const)("trusted by %s opens the volume", async (by) => {
    using tang = await startServers("a");
    using folder = new Folder();
    const [{ url } = { url: "" }] = tang.servers;
    const [known = ""] = tang.thumbprints;
    const advertisement = folder.file("adv.jws");
    writeFileSync(advertisement, await (await fetch(`${url}/adv`)).bytes());
    const wish = {
      thumbprint: tangWish({ url, thumbprint: known }),
      file: tangWish({ url, advertisement }),
      question: tangWish({ url }),
    }[by];
    const person = new FakePerson(true);
    const path = folder.file("root.jwe");
    const target = await bcachefsTarget("default", path);
    const { error } = await play({ wish, target, passphrase: PASSPHRASE, person });
    expect(error).toBeUndefined();
    expect(await opens(path)).toBe(PASSPHRASE);
    expect(person.asked.length).toBe(by === "question" ? 1 : 0);
    if (by === "question") expect(person.asked[0]).toContain(`\n  ${known}\n`);
  });

  test("is not made when the thumbprint is another's, the person says no, or nobody can", async () => {
    using tang = await startServers("a", "b");
    using folder = new Folder();
    const [{ url } = { url: "" }] = tang.servers;
    const [own = "", others = ""] = tang.thumbprints;
    const target = await bcachefsTarget("default", folder.file("root.jwe"));
    const scene = { target, passphrase: PASSPHRASE };
    const wrong = await play({ ...scene, wish: tangWish({ url, thumbprint: others }) });
    expect([wrong.error?.code, wrong.error?.outcome]).toEqual(["tang/untrusted", "refused"]);
    const declined = await play({ ...scene, wish: tangWish({ url }), person: new FakePerson(false) });
    expect(declined.error?.code).toBe("tang/untrusted");
    const alone = await play({ ...scene, wish: tangWish({ url }) });
    expect(alone.error?.code).toBe("tang/untrusted");
    expect(alone.error?.hint).toContain(own);
    expect(readdirSync(folder.path)).toEqual([]);
  });

  test("is not kept when the server cannot open it, though its keys were brought by a trusted way", async () => {
    using tang = await startServers("a", "b");
    using folder = new Folder();
    const [first, second] = tang.servers;
    const advertisement = folder.file("adv.jws");
    writeFileSync(advertisement, await (await fetch(`${second?.url}/adv`)).bytes());
    const target = await bcachefsTarget("default", folder.file("root.jwe"));
    const wish = tangWish({ url: first?.url ?? "", advertisement });
    const { error } = await play({ wish, target, passphrase: PASSPHRASE });
    expect(error?.code).toBe("tang/unknown-key");
    expect(readdirSync(folder.path)).toEqual(["adv.jws"]);
  });

  test("is not made when the server is not there, and says so once", async () => {
    using folder = new Folder();
    const target = await bcachefsTarget("default", folder.file("root.jwe"));
    const wish = tangWish({ url: "http://127.0.0.1:1", thumbprint: "A".repeat(43) });
    const { error } = await play({ wish, target, passphrase: PASSPHRASE });
    expect([error?.code, error?.outcome]).toEqual(["tang/unreachable", "unavailable"]);
    const missing = tangWish({ url: "http://127.0.0.1:1", advertisement: folder.file("none") });
    expect((await play({ wish: missing, target, passphrase: PASSPHRASE })).error?.code).toBe("tang/bad-advertisement");
  });
});

describe.skipIf(!hasTangd || swtpmMissing !== undefined)(`a token of several shares${whyNoTang}${skipReason}`, () => {
  const wishFor = (tang: Awaited<ReturnType<typeof startServers>>, threshold: number, words = {}): Wish =>
    sssWish({
      threshold: String(threshold),
      tpm2: true,
      tang: tang.servers.map(({ url }, index) => `${url}#${tang.thumbprints[index]}`),
      ...words,
    });

  test("is opened by any choice of them, and each was asked for the proof", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using tang = await startServers("a", "b");
    using folder = new Folder();
    const path = folder.file("root.jwe");
    const target = await bcachefsTarget("default", path);
    const { error, said } = await play({ wish: wishFor(tang, 2), target, passphrase: PASSPHRASE, swtpm });
    expect(error).toBeUndefined();
    expect(said).toContain("open each share of the new token again, then the token");
    // The keys once for the wish and once here for the thumbprint, then the share by itself, then the whole.
    for (const { server } of tang.servers) expect(server.connections).toBeGreaterThanOrEqual(3);
    expect(await opens(path, swtpm)).toBe(PASSPHRASE);
    expect(await opens(path)).toBe(PASSPHRASE); // both servers, no TPM
    tang.servers[0]?.server[Symbol.dispose]();
    expect(await opens(path, swtpm)).toBe(PASSPHRASE);
    expect((await errorOf(() => opens(path))).code).toBe("token/threshold");
  });

  test("is not kept when one share does not open, though the others would do", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using tang = await startServers("a");
    using folder = new Folder();
    const [{ url } = { url: "" }] = tang.servers;
    const target = await bcachefsTarget("default", folder.file("root.jwe"));
    const advertisement = folder.file("adv.jws");
    writeFileSync(advertisement, await (await fetch(`${url}/adv`)).bytes());
    const dead = tangWish({ url: "http://127.0.0.1:1", advertisement });
    const wish: Wish = { method: "sss", threshold: 1, shares: [dead, tpm2Wish({})] };
    const { error } = await play({ wish, target, passphrase: PASSPHRASE, swtpm });
    expect(error?.code).toBe("tang/unreachable");
    expect(readdirSync(folder.path)).toEqual(["adv.jws"]);
  });

  test("with a share for the latch is proved together with the others", async () => {
    await using swtpm = await startSwtpm({ state: "new" });
    using tang = await startServers("a");
    using folder = new Folder();
    const path = folder.file("root.jwe");
    const target = await bcachefsTarget("default", path);
    await extend(swtpm, 15);
    const wish = wishFor(tang, 2, { pcrs: "7,15" });
    const { error, enrolled } = await play({ wish, target, passphrase: PASSPHRASE, swtpm });
    expect(error).toBeUndefined();
    expect(enrolled?.openedHere).toBe(false);
    await swtpm.restart();
    expect(await opens(path, swtpm)).toBe(PASSPHRASE);
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
