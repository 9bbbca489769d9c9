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
  "keyring/unsupported": {
    outcome: "failed",
    when: "latchkey does not know the keyring system calls of this processor",
  },
  "policy/unencrypted": {
    outcome: "refused",
    when: "a volume that should be encrypted turned up without encryption, and policy.require_encrypted holds",
  },
  "policy/unprotected": {
    outcome: "refused",
    when: "a volume is encrypted, but its key lies in clear in its superblock, and policy.require_encrypted holds",
  },
  "pool/incomplete": {
    outcome: "failed",
    when: "a volume was not opened because another member of its pool cannot be",
  },
  "report/invalid": { outcome: "failed", when: "a file given to `latchkey report` is not a report" },
  "report/missing": { outcome: "unavailable", when: "latchkey left no report at this boot" },
  "source/timed-out": { outcome: "unavailable", when: "a source gave no credential within its time limit" },
  "unlock/interrupted": { outcome: "failed", when: "latchkey was told to stop before the volume was open" },
  "unlock/left-open": {
    outcome: "failed",
    when: "a later step failed, and a volume opened before could not be closed again",
  },
  "unlock/no-credential": {
    outcome: "unavailable",
    when: "every source ended without a credential that opens the volume",
  },
  "unlock/no-provider": { outcome: "failed", when: "this version of latchkey does not know the volume's kind" },
  "unlock/no-source": { outcome: "unavailable", when: "no source is configured for the volume" },
  "system/no-memory": { outcome: "failed", when: "the kernel gave no memory for a secret" },
  "system/run-directory": { outcome: "failed", when: "/run/latchkey cannot be made or written to" },
  "system/secret-too-long": {
    outcome: "refused",
    when: "a passphrase or key is larger than any latchkey accepts (8 MiB)",
  },
  "usage/invalid": { outcome: "usage", when: "the command line does not fit the command" },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorTable;
