import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { type HttpExchange, httpOverFetch } from "../../../../src/sources/clevis/http.ts";
import type { ClevisTools } from "../../../../src/sources/clevis/tools.ts";
import { monotonicClock } from "../../../../src/system/clock.ts";
import type { ErrorCode } from "../../../../src/system/error-table.ts";

export const fixtures = join(import.meta.dir, "../../../fixtures/clevis");

export interface Case {
  readonly id: string;
  readonly file: string;
  readonly pin?: string;
  readonly needs?: readonly string[];
  readonly expect: "ok" | "error";
  readonly error?: string;
  readonly plaintext_b64?: string;
}

interface FixtureServer {
  readonly dir: string;
  readonly port: number;
}

interface Manifest {
  readonly tang: Readonly<Record<"a" | "b" | "c" | "d", FixtureServer>>;
  readonly tokens: readonly Case[];
}

export const manifest = JSON.parse(readFileSync(join(fixtures, "manifest.json"), "utf8")) as Manifest;

export const tangServers: readonly FixtureServer[] = [
  manifest.tang.a,
  manifest.tang.b,
  manifest.tang.c,
  manifest.tang.d,
];

/** The bytes of a token as text; not UTF-8 where the case is about that. */
export function tokenText(file: string): string {
  const bytes = readFileSync(join(fixtures, file));
  return (file.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("latin1");
}

/** Which of our codes belong to an error class of the manifest. */
export const codesOfClass: Readonly<Record<string, readonly ErrorCode[]>> = {
  malformed: ["token/malformed"],
  "unsupported-alg": ["token/unsupported"],
  "unknown-pin": ["token/unknown-pin"],
  auth: ["token/tag-mismatch"],
  "limit-or-auth": ["token/too-large", "token/tag-mismatch"],
  "malformed-or-http": ["token/malformed", "tang/http-status"],
  network: ["tang/unreachable"],
  "tang-http": ["tang/unknown-key", "tang/http-status"],
  "sss-threshold": ["token/threshold"],
  "tpm-integrity": ["tpm2/integrity"],
  "tpm-pcr-mismatch": ["tpm2/pcr-mismatch"],
  tpm: ["tpm2/refused", "tpm2/integrity"],
};

/** The tokens name fixed ports; the servers of a test run listen where the kernel lets them. */
export function httpWithPorts(
  ports: Readonly<Record<number, number>>,
  http: HttpExchange = httpOverFetch(),
): HttpExchange {
  return (request) => {
    const url = new URL(request.url);
    const port = ports[Number(url.port)];
    if (port !== undefined) url.port = String(port);
    return http({ ...request, url: url.href });
  };
}

export function toolsWith(tools: Partial<ClevisTools> = {}): ClevisTools {
  return { http: httpOverFetch(), clock: monotonicClock, tangPatience: 0, ...tools };
}
