import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface ScriptRun {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The stubs that were called, with their arguments, one line each. */
  readonly calls: readonly string[];
}

/**
 * A folder of stub programs, which is all of PATH for the script that is tested: a script that needs anything else of the
 * system fails here as it would in an initrd.
 */
export class StubPrograms implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), "latchkey-stubs-"));
  readonly #programs = join(this.folder, "programs");

  constructor() {
    mkdirSync(this.#programs);
  }

  /** A stub: its call is noted, then the lines of shell run. */
  add(name: string, ...lines: readonly string[]): void {
    const note = `echo "${name} $*" >> "${this.folder}/calls"`;
    writeFileSync(join(this.#programs, name), ["#!/bin/sh", note, ...lines, ""].join("\n"));
    chmodSync(join(this.#programs, name), 0o755);
  }

  put(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  async run(command: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<ScriptRun> {
    const child = Bun.spawn([...command], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: this.#programs, ...environment },
      // A script that hangs is a failure of the test, not of its patience.
      timeout: 10_000,
    });
    const [stdout, stderr, status] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    let calls: readonly string[] = [];
    try {
      calls = readFileSync(join(this.folder, "calls"), "utf8").trim().split("\n");
    } catch {
      // no stub was called
    }
    return { status, stdout, stderr, calls };
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
