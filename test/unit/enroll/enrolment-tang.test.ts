import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sssWish, tangWish, tpm2Wish, type Wish } from "../../../src/enroll/wish.ts";
import { thumbprint } from "../../../src/jose/ec-jwk.ts";
import { httpOverFetch } from "../../../src/sources/clevis/http.ts";
import { fetchAdvertisement } from "../../../src/sources/clevis/tang-advertisement.ts";
import { fixtures } from "../sources/clevis/fixtures.ts";
import { errorOf } from "../sources/clevis/make-tokens.ts";
import { hasTangd, startTangd } from "../sources/clevis/tangd.ts";
import { skipReason, startSwtpm, swtpmMissing } from "../tpm2/swtpm.ts";
import { bcachefsTarget, extend, FakePerson, Folder, never, opens, PASSPHRASE, play } from "./scene.ts";

// Each derivation of a bcachefs passphrase takes 0.4 s, on a busy machine ten times that.
setDefaultTimeout(120_000);

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
