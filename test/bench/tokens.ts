import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { httpOverFetch } from "../../src/sources/clevis/http.ts";
import { type Sealer, sssSealer, tangSealer, tpm2Sealer } from "../../src/sources/clevis/seal.ts";
import { fetchAdvertisement } from "../../src/sources/clevis/tang-advertisement.ts";
import { sealTpm2Key } from "../../src/sources/clevis/tpm2-seal.ts";
import { SecretBytes } from "../../src/system/secret-bytes.ts";
import { startTangd } from "../unit/sources/clevis/tangd.ts";
import { neverAborted, type Swtpm, startSwtpm } from "../unit/tpm2/swtpm.ts";
import type { Guest } from "../vm/guest/chroot.ts";
import { tangKeys } from "../vm/tokens.ts";
import { type Comparison, comparisonTable } from "./figures.ts";
import type { Subject } from "./subject.ts";

const PAIRS = 15;
const MEMORY_PAIRS = 5;
const SECRET = "a passphrase for the benchmark of tokens";

interface Run {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly errors: string;
}

/** `latchkey decrypt` against `clevis decrypt` on the same tokens, with the same TPM and server. */
export async function tokensBenchmark(subject: Subject): Promise<string> {
  if (Bun.which("clevis") === null) return "## Tokens\n\nNot measured: clevis is not installed.\n";
  await using swtpm = await startSwtpm({ socket: "tcp" });
  using tang = startTangd(tangKeys);
  const tokens = await makeTokens(swtpm, `http://127.0.0.1:${tang.port}`);
  const rows: Comparison[] = [];
  for (const [name, text] of tokens) {
    const token = join(subject.scratch, "token.jwe");
    writeFileSync(token, text);
    rows.push(...(await compare(name, token, subject, swtpm.tcti)));
  }
  return `## Tokens

\`latchkey decrypt\` against \`clevis decrypt\` on this machine, with the same software TPM and \`tangd\`, whose own time is not in the processor
rows; ${PAIRS} pairs. Peak memory, ${MEMORY_PAIRS} pairs: of clevis that of its largest process.

${comparisonTable(["latchkey", "clevis"], rows)}
`;
}

/** The connection to the TPM ends here: it takes one client at a time. */
async function makeTokens(swtpm: Swtpm, url: string): Promise<ReadonlyMap<string, string>> {
  await using tpm = swtpm.tpm();
  const toTpm = (pcrs: readonly number[]): Sealer =>
    tpm2Sealer(async (key, signal) => ({ ...(await sealTpm2Key(tpm, key, { pcrs }, signal)) }));
  const toTang = tangSealer(url, await fetchAdvertisement(url, httpOverFetch({}), neverAborted()));
  const sealers: Readonly<Record<string, Sealer>> = {
    tpm2: toTpm([]),
    "tpm2, PCR 7": toTpm([7]),
    tang: toTang,
    "sss, both of tpm2 and tang": sssSealer(2, [toTpm([7]), toTang]),
  };
  const tokens = new Map<string, string>();
  for (const [name, seal] of Object.entries(sealers)) {
    using secret = SecretBytes.take(new TextEncoder().encode(SECRET));
    tokens.set(name, await seal(secret, neverAborted()));
  }
  return tokens;
}

async function compare(
  name: string,
  token: string,
  { binary, guest }: Subject,
  tcti: string,
): Promise<readonly Comparison[]> {
  const rivals = [
    [binary, "decrypt"],
    ["clevis", "decrypt"],
  ] as const;
  const runs: [Run[], Run[]] = [[], []];
  for (let pair = -1; pair < PAIRS; pair += 1) {
    for (const [index, command] of rivals.entries()) {
      const measured = await run(command, token, tcti);
      // The first pair pays for reading the files and is not counted.
      if (pair >= 0) runs[index]?.push(measured);
    }
  }
  const peaks: [number[], number[]] = [[], []];
  for (let pair = 0; pair < MEMORY_PAIRS; pair += 1) {
    for (const [index, command] of rivals.entries())
      peaks[index]?.push(await peakMebibytes(guest, command, token, tcti));
  }
  const row = (what: string, quantity: "wallMs" | "cpuMs"): Comparison => ({
    what: `${name}: ${what}`,
    ours: runs[0].map((one) => one[quantity]),
    theirs: runs[1].map((one) => one[quantity]),
    digits: 1,
  });
  return [
    row("wall, ms", "wallMs"),
    row("processor, ms", "cpuMs"),
    { what: `${name}: peak memory, MiB`, ours: peaks[0], theirs: peaks[1], digits: 1 },
  ];
}

/**
 * By busybox, which is small: what wait4(2) calls a process's peak includes that of the process it was forked from, and ours is larger
 * than any of the programs measured.
 */
async function peakMebibytes(guest: Guest, command: readonly string[], token: string, tcti: string): Promise<number> {
  const time = [join(guest.root, "usr/bin/busybox"), "time", "-f", "peak %M"];
  const { errors } = await run([...time, ...command], token, tcti);
  return Number(/^peak (\d+)$/m.exec(errors)?.[1]) / 1024;
}

/** Everything a rival starts and waits for counts: wait4(2). */
async function run(command: readonly string[], token: string, tcti: string): Promise<Run> {
  const started = performance.now();
  const child = Bun.spawn([...command], {
    stdin: Bun.file(token),
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, TPM2TOOLS_TCTI: tcti },
  });
  const [output, errors, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  const wallMs = performance.now() - started;
  if (status !== 0 || output !== SECRET) throw new Error(`${command.join(" ")}: status ${status}: ${errors}`);
  return { wallMs, cpuMs: Number(child.resourceUsage()?.cpuTime.total ?? 0) / 1000, errors };
}
