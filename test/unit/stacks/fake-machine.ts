import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Files } from "../../../src/stacks/files.ts";
import type { Machine, ProgramOutcome, RunProgram } from "../../../src/stacks/machine.ts";

export const said = (stdout: string): ProgramOutcome => ({ status: 0, stdout: `${stdout}\n`, stderr: "" });
export const failed = (status: number, stderr = ""): ProgramOutcome => ({ status, stdout: "", stderr });

/** Files of a machine in a folder of their own; programs are answered by the test. */
export class FakeMachine implements Machine, Disposable {
  readonly isRoot = true;
  readonly root: string;
  readonly files: Files;
  readonly commands: string[][] = [];
  readonly run: RunProgram;

  constructor(answer: RunProgram, makeFiles: (root: string) => Files = (root) => new Files(root)) {
    this.root = mkdtempSync(join(tmpdir(), "latchkey-stack-"));
    this.files = makeFiles(this.root);
    mkdirSync(join(this.root, "var/tmp"), { recursive: true });
    this.run = async (command, options) => {
      this.commands.push([...command]);
      return await answer(command, options);
    };
  }

  put(path: string, text: string, mode = 0o644): void {
    const target = join(this.root, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, text);
    chmodSync(target, mode);
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}
