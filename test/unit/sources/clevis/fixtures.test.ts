import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { openToken } from "../../../../src/sources/clevis/decrypt.ts";
import { parseToken } from "../../../../src/sources/clevis/token.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
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
import { hasTangd, startTangd, type TangServer } from "./tangd.ts";

/** Cases that get as far as a TPM belong to the tests of the tpm2 pin. */
const withoutTpm = manifest.tokens.filter((one) => one.pin !== "tpm2" && !one.needs?.includes("tpm"));
const signal = new AbortController().signal;

describe.skipIf(!hasTangd)("the reference tokens that need no TPM", () => {
  const servers: TangServer[] = [];
  let tools = toolsWith();

  beforeAll(() => {
    const ports: Record<number, number> = {};
    for (const { dir, port } of tangServers) {
      const server = startTangd(join(fixtures, dir));
      servers.push(server);
      ports[port] = server.port;
    }
    tools = toolsWith({ http: httpWithPorts(ports) });
  });

  afterAll(() => {
    for (const server of servers) server[Symbol.dispose]();
  });

  const open = async (one: Case): Promise<Uint8Array> => {
    using secret = await openToken(parseToken(tokenText(one.file)), tools, signal);
    return new Uint8Array(secret.bytes);
  };

  test.each(withoutTpm.filter((one) => one.expect === "ok"))("$id opens", async (one) => {
    expect(Buffer.from(await open(one)).toString("base64")).toBe(one.plaintext_b64 ?? "");
  });

  test.each(withoutTpm.filter((one) => one.expect === "error"))("$id fails with $error", async (one) => {
    const error = await open(one).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(LatchkeyError);
    if (!(error instanceof LatchkeyError)) return;
    expect(codesOfClass[one.error ?? ""]).toContain(error.code);
    expect(error.message).toMatch(/^[^A-Z\n]/);
    expect(error.message.length).toBeLessThan(2100);
  });
});
