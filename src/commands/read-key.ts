import type { Command } from "commander";
import { READER_COMMAND } from "../sources/usb/child-reader.ts";
import { serveReader } from "../sources/usb/reader-child.ts";
import { exitStatus } from "../system/errors.ts";
import { hardenProcess } from "../system/hardening.ts";
import { acts } from "./run.ts";

/** The process of latchkey's own that touches foreign sticks; started by the source `usb`, not by people. Not part of the help. */
export function registerReadKey(program: Command): void {
  const command = program
    .command(READER_COMMAND, { hidden: true })
    .summary("read keys from sticks for another latchkey")
    .description("Reads keys from sticks for the latchkey that started it. Not to be used by hand.");
  acts(command, async () => {
    hardenProcess();
    await serveReader();
    return exitStatus.done;
  });
}
