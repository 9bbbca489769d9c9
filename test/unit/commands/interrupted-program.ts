import { abortOnSignals } from "../../../src/commands/interrupt.ts";
import { atExit } from "../../../src/system/ask-password/at-exit.ts";

/** Run by a test: works until it is told to stop, then tidies up for as long as the argument says. */
const signal = abortOnSignals();
atExit(() => process.stdout.write("left\n"));
const work = setInterval(() => undefined, 1000);
signal.addEventListener("abort", () => {
  process.stdout.write("stopping\n");
  setTimeout(() => {
    process.stdout.write("stopped\n");
    clearInterval(work);
  }, Number(process.argv[2]));
});
process.stdout.write("working\n");
