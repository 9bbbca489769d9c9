import type { Files } from "./files.ts";

export interface ProgramOutcome {
  /** Exit status; 127 when the program does not exist, 126 when it may not be run. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProgramOptions {
  readonly folder?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

/** Runs a program to its end, without a terminal. Never throws. */
export type RunProgram = (command: readonly string[], options?: ProgramOptions) => Promise<ProgramOutcome>;

/** What the stacks need of the machine: files and programs. */
export interface Machine {
  readonly isRoot: boolean;
  readonly files: Files;
  readonly run: RunProgram;
}
