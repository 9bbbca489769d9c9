import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { HttpFailure } from "../../../../src/sources/clevis/http.ts";
import {
  judgePcrs,
  type Opens,
  type Readiness,
  type ReadinessMeans,
  thresholdReadiness,
  tokenReadiness,
} from "../../../../src/sources/clevis/readiness.ts";
import { parseToken } from "../../../../src/sources/clevis/token.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { hashByName } from "../../../../src/tpm2/algorithms.ts";
import { pcrSelection } from "../../../../src/tpm2/pcr-selection.ts";
import { extendPcr } from "../../../../src/tpm2/pcrs.ts";
import { neverAborted, skipReason, startSwtpm, swtpmMissing } from "../../tpm2/swtpm.ts";
import { fixtures, httpWithPorts, tokenText } from "./fixtures.ts";
import { hasTangd, startTangd } from "./tangd.ts";

// A software TPM takes seconds for an RSA key, and the machine may be busy.
setDefaultTimeout(60_000);

const nothing: ReadinessMeans = {
  tpm: () => {
    throw new LatchkeyError("tpm2/absent", "there is no TPM");
  },
  http: () => () => Promise.reject(new HttpFailure("the connection was refused", true)),
  hasClevisPin: () => false,
  latch: undefined,
};

const ready = async (id: string, means: Partial<ReadinessMeans> = {}): Promise<Readiness> =>
  await tokenReadiness(parseToken(tokenText(`tokens/${id}.jwe`)), { ...nothing, ...means }, neverAborted());

describe.skipIf(swtpmMissing !== undefined)(`a tpm2 token against a real TPM${skipReason}`, () => {
  test.each<[string, Opens, string]>([
    ["tpm2-nopcr-ecc", "yes", "this machine's TPM opens it, whatever system runs"],
    ["tpm2-nopcr-rsa", "yes", "this machine's TPM opens it"],
    ["tpm2-pcr7-sha256-ecc", "yes", "PCR 7 of bank sha256 is as sealed"],
    ["tpm2-pcr1-7-sha256-ecc", "yes", "PCRs 1 and 7 of bank sha256 are as sealed"],
    ["tpm2-pcr7-never", "no", "PCR 7 differs from what the token was sealed to (bank sha256)"],
    ["tpm2-pcr8-extended", "no", "PCR 8 differs from what the token was sealed to"],
    ["tpm2-foreign", "no", "TPM"],
  ])("%s: %s, %s", async (id, opens, reason) => {
    await using swtpm = await startSwtpm();
    {
      await using tpm = swtpm.tpm();
      const answer = await ready(id, { tpm: () => tpm });
      expect(answer).toMatchObject({ what: "tpm2", opens, reason: expect.stringContaining(reason) as string });
    }
    expect(await swtpm.leftInside()).toEqual([]);
  });

  test("of a PCR that moved since, it names the PCRs; either may be the one", async () => {
    await using swtpm = await startSwtpm();
    await using tpm = swtpm.tpm();
    await tpm.use(neverAborted(), (turn) => extendPcr(turn, 1, "another boot order"));
    expect(await ready("tpm2-pcr1-7-sha256-ecc", { tpm: () => tpm })).toMatchObject({
      opens: "no",
      reason: "one or more of PCRs 1 and 7 differ from what the token was sealed to (bank sha256)",
    });
  });

  test("a PCR that latchkey closes at boot counts as it is when the machine starts", async () => {
    await using swtpm = await startSwtpm();
    await using tpm = swtpm.tpm();
    await tpm.use(neverAborted(), (turn) => extendPcr(turn, 7, "closed"));
    expect(await ready("tpm2-pcr7-sha256-ecc", { tpm: () => tpm })).toMatchObject({ opens: "no" });
    expect(await ready("tpm2-pcr7-sha256-ecc", { tpm: () => tpm, latch: 7 })).toMatchObject({
      opens: "yes",
      reason: "PCR 7 of bank sha256 is as sealed, with PCR 7 as it is when the machine starts",
    });
  });

  test("one share that opens is enough for one of two", async () => {
    await using swtpm = await startSwtpm();
    await using tpm = swtpm.tpm();
    const answer = await ready("sss-t1-tang-tpm2", { tpm: () => tpm });
    expect(answer).toMatchObject({ what: "sss", opens: "yes" });
    expect(answer.shares?.map(({ opens }) => opens).toSorted()).toEqual(["perhaps", "yes"]);
  });
});

test("without a TPM a token for it does not open", async () => {
  expect(await ready("tpm2-nopcr-ecc")).toMatchObject({ opens: "no", reason: "there is no TPM" });
});

describe.skipIf(!hasTangd)(
  `a tang token against a real server${hasTangd ? "" : " (skipped: tangd is not installed)"}`,
  () => {
    test("opens where the server advertises its key, and may where the keys were rotated", async () => {
      using a = startTangd(join(fixtures, "tang/a"));
      using b = startTangd(join(fixtures, "tang/b"));
      const http = httpWithPorts({ 17511: a.port, 17512: b.port });
      expect(await ready("tang-a", { http: () => http })).toMatchObject({
        opens: "yes",
        what: "tang http://127.0.0.1:17511",
      });
      expect(await ready("tang-b", { http: () => http })).toMatchObject({
        opens: "perhaps",
        reason: "the server answers, and advertises another key than the one that the token is bound to",
      });
    });
  },
);

test("a server that does not answer may answer at boot, and is not asked for long", async () => {
  const limits: number[] = [];
  const answer = await ready("tang-a", {
    http: () => (request) => {
      limits.push(request.timeLimit);
      return Promise.reject(new HttpFailure("no answer within 3 s", true));
    },
  });
  expect(answer).toMatchObject({
    opens: "perhaps",
    reason: "no answer within 3 s",
  });
  expect(limits).toEqual([3000]);
});

test("a key in the token itself opens, and protects nothing", async () => {
  expect(await ready("null-basic")).toMatchObject({ what: "null", opens: "yes" });
});

const share = (opens: Opens): Readiness => ({ what: "x", opens, reason: "" });
test.each<[number, readonly Opens[], Opens]>([
  [1, ["yes", "no"], "yes"],
  [2, ["yes", "no"], "no"],
  [2, ["yes", "perhaps"], "perhaps"],
  [2, ["yes", "yes", "no"], "yes"],
  [1, ["no", "no"], "no"],
  [1, ["perhaps"], "perhaps"],
])("%p of %p: %s", (threshold, shares, opens) => {
  expect(thresholdReadiness(threshold, shares.map(share)).opens).toBe(opens);
});

describe("what PCRs of the running system say of the initrd", () => {
  const sha256 = hashByName("sha256", "a test");
  test.each<[readonly number[], boolean, boolean, number | undefined, Opens, string]>([
    [[7], true, true, undefined, "yes", "PCR 7 of bank sha256 is as sealed"],
    [[7], false, false, undefined, "no", "PCR 7 differs"],
    [[0, 7], false, false, undefined, "no", "one or more of PCRs 0 and 7 differ"],
    [[7, 11], true, true, undefined, "perhaps", "fits them now, and PCR 11 moves on"],
    [[11], false, false, undefined, "perhaps", "does not fit them now, and PCR 11 moves on"],
    [[10, 11], false, false, undefined, "perhaps", "PCRs 10 and 11 move on"],
    [[7, 15], false, true, 15, "yes", "with PCR 15 as it is when the machine starts"],
    [[15], true, false, 15, "no", "sealed to PCR 15 as it is now"],
    [[15], false, false, undefined, "no", "PCR 15 differs"],
    [[12], true, false, 12, "no", "sealed to PCR 12 as it is now"],
  ])("%p (now %p, at the start %p, latch %p): %s", (pcrs, matchesNow, matchesAtStart, latch, opens, reason) => {
    const selection = pcrSelection(sha256, pcrs, "token/malformed");
    const answer = judgePcrs(selection, { matchesNow, matchesAtStart }, latch);
    expect(answer.opens).toBe(opens);
    expect(answer.reason).toContain(reason);
  });
});
