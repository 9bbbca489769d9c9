import type { Outcome } from "./errors.ts";

interface ErrorEntry {
  readonly outcome: Outcome;
  /** When it happens, for docs/errors.md. */
  readonly when: string;
}

/** Every error code there is. docs/errors.md is made from this table; a code never changes its meaning. */
export const errorTable = {
  "internal/defect": { outcome: "failed", when: "latchkey met a case its authors did not think of" },
  "keyring/refused": { outcome: "failed", when: "the kernel refused a keyring operation; the message has its errno" },
  "keyring/unsupported": { outcome: "failed", when: "latchkey does not know the keyring system calls of this processor" },
  "system/no-memory": { outcome: "failed", when: "the kernel gave no memory for a secret" },
  "system/secret-too-long": {
    outcome: "refused",
    when: "a passphrase or key is larger than any latchkey accepts (8 MiB)",
  },
  "usage/invalid": { outcome: "usage", when: "the command line does not fit the command" },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorTable;
