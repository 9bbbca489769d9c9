/** Preloaded into a command under test: leaves the peak of its memory, proc_pid_status(5), in a file. */
import { readFileSync, writeFileSync } from "node:fs";

const file = process.env["LATCHKEY_TEST_MEMORY"] ?? "";
process.on("exit", () => writeFileSync(file, readFileSync("/proc/self/status")));
