import { cpSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { dyingWithUs } from "./command.ts";
import { seconds } from "./patience.ts";

export interface TpmOptions {
  /** State directory to start from, for instance one that a token was sealed in; copied, so that tests can share it. */
  readonly state?: string;
}

const SOCKET_POLL_MS = 20;

/** Starts a software TPM for one machine and gives the socket to hand to QEMU. It ends when QEMU hangs up. */
export async function startTpm(options: TpmOptions, files: string, sockets: string): Promise<string> {
  const state = join(files, "tpm");
  mkdirSync(state);
  if (options.state !== undefined) cpSync(options.state, state, { recursive: true });
  const socket = join(sockets, "tpm.sock");
  const argv = ["swtpm", "socket", "--tpm2", "--tpmstate", `dir=${state}`, "--ctrl", `type=unixio,path=${socket}`];
  Bun.spawn([...dyingWithUs([...argv, "--terminate"])], { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
  const end = performance.now() + seconds(20);
  while (!existsSync(socket)) {
    if (performance.now() > end) throw new Error("swtpm did not start within its limit");
    await Bun.sleep(SOCKET_POLL_MS);
  }
  return socket;
}
