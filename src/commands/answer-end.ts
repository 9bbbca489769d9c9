import type { End } from "../sources/remote/desk.ts";
import { LatchkeyError } from "../system/errors.ts";

/** What an end means for the exit status: nothing, when all is well. */
export function endError(end: End): LatchkeyError | undefined {
  switch (end.kind) {
    case "open":
    case "answered":
      return undefined;
    case "left-closed":
      return new LatchkeyError("answer/left-closed", `latchkey gave up: ${end.lines.join("; ")}`);
    case "nobody-asks":
      return new LatchkeyError("answer/nobody-asks", "nothing on this machine asks for a passphrase", {
        hint: "is this the initrd of a machine that boots, and has a volume the source remote?",
      });
  }
}
