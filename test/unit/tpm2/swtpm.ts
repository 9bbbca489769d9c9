import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LatchkeyError } from "../../../src/system/errors.ts";
import { loadedHandles } from "../../../src/tpm2/capabilities.ts";
import { commands } from "../../../src/tpm2/commands.ts";
import { parseTcti } from "../../../src/tpm2/tcti.ts";
import { Tpm, type TpmOptions } from "../../../src/tpm2/tpm.ts";

/** Why tests with a software TPM cannot run here; undefined when they can. */
export const swtpmMissing = Bun.which("swtpm") === null ? "swtpm is not installed" : undefined;

/** For the title of what is skipped then. */
export const skipReason = swtpmMissing === undefined ? "" : ` (skipped: ${swtpmMissing})`;

const fixtureState = join(import.meta.dir, "../../fixtures/clevis/tpm/swtpm-state.tar");

/** Unpacks the state of the TPM that the fixture tokens were sealed by. */
export function fixtureStateIn(folder: string): void {
  Bun.spawnSync(["tar", "-C", folder, "-xf", fixtureState]);
}

/** A real TPM 2.0 in software, with a state of its own, gone at the end of its scope. */
export interface Swtpm extends AsyncDisposable {
  /** How latchkey reaches it. */
  readonly tcti: string;
  /** A fresh connection of latchkey's. */
  tpm(options?: TpmOptions): Tpm;
  /** Handles left inside, by a connection of its own: objects and sessions. */
  leftInside(): Promise<readonly number[]>;
  /** Power off and on. */
  restart(): Promise<void>;
}

export interface SwtpmOptions {
  readonly socket?: "unix" | "tcp";
  /** `fixture`: the seed that the tokens of test/fixtures/clevis are bound to; `new`: another TPM. */
  readonly state?: "fixture" | "new";
  /** False: nobody sends TPM2_Startup. */
  readonly started?: boolean;
}

export async function startSwtpm(options: SwtpmOptions = {}): Promise<Swtpm> {
  const { socket = "unix", state = "fixture", started = true } = options;
  const folder = mkdtempSync(join(tmpdir(), "latchkey-swtpm-"));
  if (state === "fixture") fixtureStateIn(folder);
  const port = socket === "tcp" ? await freePorts() : 0;
  const path = join(folder, "tpm");
  const [server, control, tcti] =
    socket === "tcp"
      ? [`type=tcp,port=${port},bindaddr=127.0.0.1`, `type=tcp,port=${port + 1},bindaddr=127.0.0.1`, `port=${port}`]
      : [`type=unixio,path=${path}`, `type=unixio,path=${path}.ctrl`, `path=${path}`];
  const flags = started ? "not-need-init,startup-clear" : "not-need-init";
  const launch = () =>
    Bun.spawn(
      [
        ...["swtpm", "socket", "--tpm2", "--tpmstate", `dir=${folder}`],
        ...["--server", server, "--ctrl", control, "--flags", flags],
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
  let child = launch();
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await child.exited;
  };
  const swtpm: Swtpm = {
    tcti: `swtpm:${tcti}`,
    tpm: (tpmOptions = {}) => new Tpm(parseTcti(swtpm.tcti), tpmOptions),
    async leftInside() {
      await using tpm = swtpm.tpm();
      return await tpm.use(neverAborted(), async (turn) => [
        ...(await loadedHandles(turn, "transient")),
        ...(await loadedHandles(turn, "session")),
        ...(await loadedHandles(turn, "savedSession")),
      ]);
    },
    async restart() {
      await stop();
      child = launch();
      await untilItListens(swtpm, child);
    },
    async [Symbol.asyncDispose]() {
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    await untilItListens(swtpm, child);
  } catch (error) {
    await swtpm[Symbol.asyncDispose]();
    throw error;
  }
  return swtpm;
}

export function neverAborted(): AbortSignal {
  return new AbortController().signal;
}

/** Extends a PCR in one bank with a given digest, as firmware would. */
export function extend(tpm: Tpm, pcr: number, bank: number, digest: Uint8Array): Promise<unknown> {
  return tpm.use(neverAborted(), (turn) =>
    turn.channel.execute(commands.pcrExtend(pcr, [[bank, digest]]), turn.signal, "password"),
  );
}

async function untilItListens(swtpm: Swtpm, child: Bun.Subprocess<"ignore", "ignore", "pipe">): Promise<void> {
  for (let look = 0; ; look++) {
    try {
      await swtpm.leftInside();
      return;
    } catch (error) {
      if ((error as LatchkeyError).code === "tpm2/not-started") return;
      if (child.exitCode !== null) throw new Error(`swtpm ended: ${await new Response(child.stderr).text()}`);
      if (look > 200) throw error;
      await Bun.sleep(25);
    }
  }
}

/** A port whose successor is free too: tpm2-tools look for swtpm's control channel there. */
async function freePorts(): Promise<number> {
  for (;;) {
    const first = createServer();
    await new Promise<void>((resolve) => first.listen(0, "127.0.0.1", resolve));
    const { port } = first.address() as { port: number };
    const second = createServer();
    const free = await new Promise<boolean>((resolve) => {
      second.once("error", () => resolve(false));
      second.listen(port + 1, "127.0.0.1", () => resolve(true));
    });
    first.close();
    second.close();
    if (free) return port;
  }
}
