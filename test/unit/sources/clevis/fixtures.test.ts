import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { openToken } from "../../../../src/sources/clevis/decrypt.ts";
import type { HttpExchange } from "../../../../src/sources/clevis/http.ts";
import { parseToken } from "../../../../src/sources/clevis/token.ts";
import type { ClevisTools } from "../../../../src/sources/clevis/tools.ts";
import { tpm2Opener } from "../../../../src/sources/clevis/tpm2-open.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { type Swtpm, skipReason, startSwtpm, swtpmMissing } from "../../tpm2/swtpm.ts";
import {
  type Case,
  codesOfClass,
  fixtures,
  httpWithPorts,
  manifest,
  tangServers,
  tokenText,
  toolsWith,
} from "./fixtures.ts";
import { errorOf, textOf } from "./make-tokens.ts";
import { hasTangd, startTangd, type TangServer } from "./tangd.ts";

// A software TPM takes seconds for an RSA key, and the machine may be busy.
setDefaultTimeout(60_000);

const signal = new AbortController().signal;
const needsTpm = (one: Case): boolean => one.needs?.includes("tpm") === true;
/** Tokens that are tpm2 through and through belong to the tests of that pin. */
const cases = manifest.tokens.filter(({ pin }) => pin !== "tpm2");
const withoutTpm = cases.filter((one) => !needsTpm(one));
const withTpm = cases.filter(needsTpm);

/** The servers of the fixtures, listening where the kernel lets them. */
function startServers(): { readonly http: HttpExchange } & Disposable {
  const started: TangServer[] = [];
  const ports: Record<number, number> = {};
  for (const { dir, port } of tangServers) {
    const server = startTangd(join(fixtures, dir));
    started.push(server);
    ports[port] = server.port;
  }
  return {
    http: httpWithPorts(ports),
    [Symbol.dispose]: () => {
      for (const server of started) server[Symbol.dispose]();
    },
  };
}

async function expectItsEnd(one: Case, tools: ClevisTools): Promise<void> {
  const opening = (async () => await openToken(parseToken(tokenText(one.file)), tools, signal))();
  if (one.expect === "ok") {
    using secret = await opening;
    expect(Buffer.from(secret.bytes).toString("base64")).toBe(one.plaintext_b64 ?? "");
    return;
  }
  const error = await errorOf(() => opening);
  expect(error).toBeInstanceOf(LatchkeyError);
  expect(codesOfClass[one.error ?? ""]).toContain(error.code);
  expect(error.message).toMatch(/^[^A-Z\n][^\n]*[^.\n]$/);
  expect(error.message.length).toBeLessThan(2100);
}

const name = (one: Case): string => `${one.id}: ${one.expect === "ok" ? "opens" : `fails with ${one.error}`}`;

describe.skipIf(!hasTangd)("the reference tokens that need no TPM", () => {
  let servers: ReturnType<typeof startServers>;
  beforeAll(() => {
    servers = startServers();
  });
  afterAll(() => servers[Symbol.dispose]());

  test.each(withoutTpm.map((one) => [name(one), one] as const))("%s", async (_name, one) => {
    await expectItsEnd(one, toolsWith({ http: servers.http }));
  });
});

describe.skipIf(!hasTangd || swtpmMissing !== undefined)(
  `the reference tokens with a TPM among others${skipReason}`,
  () => {
    let servers: ReturnType<typeof startServers>;
    let swtpm: Swtpm;
    beforeAll(async () => {
      servers = startServers();
      swtpm = await startSwtpm();
    });
    afterAll(async () => {
      servers[Symbol.dispose]();
      await swtpm[Symbol.asyncDispose]();
    });

    test.each(withTpm.map((one) => [name(one), one] as const))("%s", async (_name, one) => {
      {
        await using tpm = swtpm.tpm();
        await expectItsEnd(one, toolsWith({ tpm2: tpm2Opener(tpm), http: servers.http }));
      }
      expect(await swtpm.leftInside()).toEqual([]);
    });

    test("one of two: the TPM opens it beside a server that never answers, without a delay", async () => {
      const silent: HttpExchange = ({ signal: unwanted }) =>
        new Promise((_resolve, reject) => unwanted.addEventListener("abort", reject));
      await using tpm = swtpm.tpm();
      const started = performance.now();
      const token = parseToken(tokenText("tokens/sss-t1-tang-tpm2.jwe"));
      const secret = await openToken(token, toolsWith({ tpm2: tpm2Opener(tpm), http: silent }), signal);
      expect(textOf(secret)).toBe("dev1-sss-t1-tang-tpm2");
      expect(performance.now() - started).toBeLessThan(5_000);
    });

    test("one of two: the server opens it where there is no TPM", async () => {
      const token = parseToken(tokenText("tokens/sss-t1-tang-tpm2.jwe"));
      expect(textOf(await openToken(token, toolsWith({ http: servers.http }), signal))).toBe("dev1-sss-t1-tang-tpm2");
    });
  },
);

test("each case of the manifest is here or in the tests of the tpm2 pin", () => {
  expect(manifest.tokens).toHaveLength(126);
  expect(withTpm.length).toBeGreaterThan(5);
  for (const { error } of cases) expect(error === undefined || codesOfClass[error] !== undefined).toBe(true);
});
