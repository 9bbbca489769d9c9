import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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
import { type Comparison, comparisonTable, spread } from "./figures.ts";
import type { Subject } from "./subject.ts";

const PAIRS = 15;
const MEMORY_PAIRS = 5;
const SECRET = "a passphrase for the benchmark of tokens";

/** A tmpfs of every Linux; pages of 4 KiB, as in the tmpfs that an initrd is unpacked to. */
const TMPFS = "/dev/shm";

/**
 * The same program in two places. How its file lies in the page cache makes milliseconds: what was just written to a disk's
 * filesystem lies there in large pieces, and what is in a tmpfs, or was read bit by bit, page by page.
 */
interface Programs extends Disposable {
  readonly written: string;
  readonly inTmpfs: string;
  /** Bun's own part: compiled from nothing. */
  readonly empty: string;
}

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
  using programs = await placePrograms(subject);
  const pairs = subject.pairs(PAIRS);
  const tokens = await makeTokens(swtpm, `http://127.0.0.1:${tang.port}`);
  const nothing: Run[] = [];
  for (let run = -1; run < pairs; run += 1) {
    const measured = await spend([programs.empty], "/dev/null", swtpm.tcti);
    if (run >= 0) nothing.push(measured);
  }
  const rows: Comparison[] = [];
  for (const [name, text] of tokens) {
    const token = join(subject.scratch, "token.jwe");
    writeFileSync(token, text);
    rows.push(...(await compare(name, token, programs, pairs, subject.guest, swtpm.tcti)));
  }
  const of = (quantity: "wallMs" | "cpuMs"): string =>
    spread(
      nothing.map((one) => one[quantity]),
      1,
    );
  return `## Tokens

\`latchkey decrypt\` against \`clevis decrypt\` on this machine, with the same software TPM and \`tangd\`, whose own time is not in the processor
rows; ${pairs} pairs. Peak memory, ${MEMORY_PAIRS} pairs: of clevis that of its largest process. The program's file was written just before, as it is
after a build or an update; "from memory" is the same from a tmpfs, as an initrd has it, in single pages of 4 KiB, which on a machine that
has been up for long lie about in its memory. A program of Bun's that does nothing takes ${of("cpuMs")} ms of the processor and
${of("wallMs")} ms in all; it is in each of latchkey's figures. [Where the rest goes](decisions/time-of-a-token.md).

${comparisonTable(["latchkey", "clevis"], rows)}
`;
}

async function placePrograms({ binary, scratch }: Subject): Promise<Programs> {
  using scope = new DisposableStack();
  const folder = scope.adopt(mkdtempSync(join(TMPFS, "latchkey-bench-")), (path) => rmSync(path, { recursive: true }));
  const written = join(scratch, "latchkey-written");
  const inTmpfs = join(folder, "latchkey");
  const program = readFileSync(binary);
  for (const place of [written, inTmpfs]) writeFileSync(place, program, { mode: 0o755 });
  const source = join(scratch, "empty.ts");
  writeFileSync(source, "");
  const empty = join(scratch, "empty");
  const { success } = await Bun.build({
    entrypoints: [source],
    bytecode: true,
    format: "esm",
    compile: { outfile: empty },
  });
  if (!success) throw new Error("the empty program was not built");
  const kept = scope.move();
  return { written, inTmpfs, empty, [Symbol.dispose]: () => kept.dispose() };
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
  programs: Programs,
  pairs: number,
  guest: Guest,
  tcti: string,
): Promise<readonly Comparison[]> {
  const theirs = ["clevis", "decrypt"];
  const rows: Comparison[] = [];
  for (const [place, program] of [
    ["", programs.written],
    [", from memory", programs.inTmpfs],
  ] as const) {
    const runs: readonly [Run[], Run[]] = [[], []];
    for (let pair = -1; pair < pairs; pair += 1) {
      // Each after the other one: who ran last left the processor's caches to himself.
      for (const [index, command] of [[program, "decrypt"], theirs].entries()) {
        const measured = await run(command, token, tcti);
        // The first pair pays for reading the files and is not counted.
        if (pair >= 0) runs[index]?.push(measured);
      }
    }
    const row = (what: string, quantity: "wallMs" | "cpuMs"): Comparison => ({
      what: `${name}: ${what}${place}, ms`,
      ours: runs[0].map((one) => one[quantity]),
      theirs: runs[1].map((one) => one[quantity]),
      digits: 1,
    });
    if (place === "") rows.push(row("wall", "wallMs"));
    rows.push(row("processor", "cpuMs"));
  }
  const peaks: readonly [number[], number[]] = [[], []];
  for (let pair = 0; pair < MEMORY_PAIRS; pair += 1) {
    for (const [index, command] of [[programs.written, "decrypt"], theirs].entries())
      peaks[index]?.push(await peakMebibytes(guest, command, token, tcti));
  }
  return [...rows, { what: `${name}: peak memory, MiB`, ours: peaks[0], theirs: peaks[1], digits: 1 }];
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

/** Opens the token, and looks at what came out. */
async function run(command: readonly string[], token: string, tcti: string): Promise<Run> {
  const { output, ...spent } = await spend(command, token, tcti);
  if (output !== SECRET) throw new Error(`${command.join(" ")}: ${spent.errors}`);
  return spent;
}

/** Everything a rival starts and waits for counts: wait4(2). */
async function spend(
  command: readonly string[],
  input: string,
  tcti: string,
): Promise<Run & { readonly output: string }> {
  const started = performance.now();
  const child = Bun.spawn([...command], {
    stdin: Bun.file(input),
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, TPM2TOOLS_TCTI: tcti },
  });
  const [output, errors, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  const wallMs = performance.now() - started;
  if (status !== 0) throw new Error(`${command.join(" ")}: status ${status}: ${errors}`);
  return { wallMs, cpuMs: Number(child.resourceUsage()?.cpuTime.total ?? 0) / 1000, errors, output };
}
