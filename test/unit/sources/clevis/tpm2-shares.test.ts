import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { openToken } from "../../../../src/sources/clevis/decrypt.ts";
import { parseToken } from "../../../../src/sources/clevis/token.ts";
import { tpm2Opener } from "../../../../src/sources/clevis/tpm2-open.ts";
import type { LatchkeyError } from "../../../../src/system/errors.ts";
import { neverAborted, type Swtpm, startSwtpm, swtpmMissing } from "../../tpm2/swtpm.ts";
import { codesOfClass, fixtures, httpWithPorts, manifest, tangServers, tokenText, toolsWith } from "./fixtures.ts";
import { hasTangd, startTangd, type TangServer } from "./tangd.ts";

// A software TPM takes seconds for an RSA key, and the machine may be busy.
setDefaultTimeout(60_000);

const reason = swtpmMissing ?? (hasTangd ? undefined : "tangd is not installed");

/** Tokens of the pin sss with a share in the TPM; those of tpm2 alone are in tpm2-tokens.test.ts. */
const withTpm = manifest.tokens.filter(({ pin, needs }) => pin === "sss" && needs?.includes("tpm"));

describe.skipIf(reason !== undefined)(`sss tokens with shares in a TPM${reason ? ` (skipped: ${reason})` : ""}`, () => {
  const servers: TangServer[] = [];
  let http = httpWithPorts({});
  let swtpm: Swtpm;

  beforeAll(async () => {
    swtpm = await startSwtpm();
    const ports: Record<number, number> = {};
    for (const { dir, port } of tangServers) {
      const server = startTangd(join(fixtures, dir));
      servers.push(server);
      ports[port] = server.port;
    }
    http = httpWithPorts(ports);
  });
  afterAll(async () => {
    for (const server of servers) server[Symbol.dispose]();
    await swtpm[Symbol.asyncDispose]();
  });

  test.each(withTpm)("$id: $expect, and nothing is left in the TPM", async ({ file, error, plaintext_b64 }) => {
    {
      await using tpm = swtpm.tpm();
      const opening = openToken(
        parseToken(tokenText(file)),
        toolsWith({ http, tpm2: tpm2Opener(tpm) }),
        neverAborted(),
      );
      if (error === undefined) {
        using secret = await opening;
        expect(Buffer.from(secret.bytes).toString("base64")).toBe(plaintext_b64 ?? "?");
      } else {
        const thrown = await opening.catch((failure: LatchkeyError) => failure);
        expect(codesOfClass[error]).toContain((thrown as LatchkeyError).code);
      }
    }
    expect(await swtpm.leftInside()).toEqual([]);
  });

  test("there are six of them", () => {
    expect(withTpm.length).toBe(6);
  });
});
