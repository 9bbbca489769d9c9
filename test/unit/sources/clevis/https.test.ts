import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Server, serve, spawnSync } from "bun";
import { HttpFailure, type HttpOptions, httpOverFetch } from "../../../../src/sources/clevis/http.ts";
import { machineTools } from "../../../../src/sources/clevis/machine-tools.ts";
import { errorOf } from "./make-tokens.ts";

const hasOpenssl = Bun.which("openssl") !== null;

describe.skipIf(!hasOpenssl)(`https${hasOpenssl ? "" : " (skipped: openssl is not installed)"}`, () => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-tls-"));
  const file = (name: string): string => join(folder, name);
  const servers = new Map<string, Server<undefined>>();

  const openssl = (...args: string[]): void => {
    const { success, stderr } = spawnSync(["openssl", ...args], { cwd: folder });
    if (!success) throw new Error(stderr.toString());
  };

  /** A server whose certificate is for `name`, by the authority `authority`. */
  const serveAs = (id: string, name: string, authority: string): void => {
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", `${id}.key`, "-out", `${id}.csr`, "-subj", "/CN=tang");
    writeFileSync(file(`${id}.ext`), `subjectAltName=${name}\n`);
    openssl(
      "x509",
      "-req",
      "-in",
      `${id}.csr`,
      "-CA",
      `${authority}.pem`,
      "-CAkey",
      `${authority}.key`,
      "-CAcreateserial",
      "-days",
      "2",
      "-extfile",
      `${id}.ext`,
      "-out",
      `${id}.pem`,
    );
    servers.set(
      id,
      serve({
        port: 0,
        hostname: "127.0.0.1",
        tls: { cert: readFileSync(file(`${id}.pem`), "utf8"), key: readFileSync(file(`${id}.key`), "utf8") },
        fetch: () => new Response("hello"),
      }),
    );
  };

  const get = async (id: string, options: HttpOptions): Promise<string> => {
    const { body } = await httpOverFetch(options)({
      url: `https://127.0.0.1:${servers.get(id)?.port}/`,
      method: "GET",
      timeLimit: 5_000,
      sizeLimit: 100,
      signal: new AbortController().signal,
    });
    return Buffer.from(body).toString();
  };
  const ours = (): HttpOptions => ({ certificateAuthority: readFileSync(file("ours.pem"), "utf8") });

  beforeAll(() => {
    for (const authority of ["ours", "theirs"]) {
      openssl(
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        `${authority}.key`,
        "-out",
        `${authority}.pem`,
        "-subj",
        `/CN=${authority}`,
        "-days",
        "2",
      );
    }
    serveAs("good", "IP:127.0.0.1", "ours");
    serveAs("other-name", "DNS:other.example", "ours");
    serveAs("other-authority", "IP:127.0.0.1", "theirs");
  });

  afterAll(() => {
    for (const server of servers.values()) void server.stop(true);
    rmSync(folder, { recursive: true });
  });

  test("reaches a server with a certificate by the configured authority", async () => {
    expect(await get("good", ours())).toBe("hello");
  });

  test.each<[string, string, () => HttpOptions]>([
    ["by another authority", "other-authority", ours],
    ["for another name", "other-name", ours],
    ["by an authority nobody configured", "good", () => ({})],
  ])("does not talk to a server with a certificate %s, and does not try again", async (_what, id, options) => {
    const failure = await get(id, options()).catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(HttpFailure);
    expect(String(failure)).toContain("its certificate is not trusted");
    expect(failure).toMatchObject({ isPassing: false });
  });

  test("a file without a certificate is an error of the configuration", async () => {
    writeFileSync(file("empty.pem"), "no certificate");
    for (const authorityFile of [file("empty.pem"), file("missing.pem"), folder]) {
      const error = await errorOf(() => machineTools({ authorityFile, tangPatience: 0 }));
      expect(error.code).toBe("tang/ca-unreadable");
      expect(error.message).toContain(authorityFile);
    }
    await machineTools({ authorityFile: file("ours.pem"), tangPatience: 0 })[Symbol.asyncDispose]();
  });
});
