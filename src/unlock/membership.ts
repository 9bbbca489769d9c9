import type { VolumeState } from "../providers/provider.ts";
import { LatchkeyError } from "../system/errors.ts";

/**
 * A device as it is now: what it is to the pool, and what it holds.
 * `member`: in the pool, and stays · `leaving`: in the pool, and about to be replaced while it is there · `entering`: not in the
 * pool yet.
 */
export interface Candidate {
  readonly name: string;
  readonly role: "member" | "leaving" | "entering";
  readonly holds: Holding;
  readonly requireEncrypted: boolean;
}

export type Holding =
  | {
      readonly kind: "volume";
      readonly uuid: string;
      readonly devices: readonly string[];
      readonly state: VolumeState;
      readonly description: string;
    }
  /** No LUKS and no bcachefs: a disk that is yet to be formatted. */
  | { readonly kind: "fresh"; readonly why: string }
  | { readonly kind: "absent"; readonly error: LatchkeyError }
  /** There, and not what it should be. */
  | { readonly kind: "wrong"; readonly error: LatchkeyError };

/** What is done with a candidate when a credential is verified. */
export type Verdict =
  | { readonly do: "try" }
  | { readonly do: "skip"; readonly why: string }
  /** Nothing can be tried on it, and that is an error; the others are tried all the same. */
  | { readonly do: "fail"; readonly error: LatchkeyError };

export interface Membership {
  readonly verdicts: ReadonlyMap<Candidate, Verdict>;
  /** What has to be put right before a secret is so much as read. */
  readonly errors: readonly LatchkeyError[];
}

/**
 * Which devices a credential has to be right for: each that can be reached, is formatted, and will be in the pool after the
 * operation. Disks that will be formatted afresh are left out, and the source of a live replacement when other members remain:
 * what it holds is copied from it, and then it is gone. The rule is that of braid (danneu/braid, cli/src).
 * @param allowDegraded members that are absent are left out instead of being an error
 */
export function planMembership(pool: string, candidates: readonly Candidate[], allowDegraded: boolean): Membership {
  const errors = [...candidates.flatMap(identityErrors), ...duplicates(pool, candidates)];
  const remain = candidates.some(({ role, holds }) => role === "member" && holds.kind === "volume");
  const verdicts = new Map(
    candidates.map((candidate) => [candidate, verdictOn(candidate, pool, remain, allowDegraded)] as const),
  );
  return { verdicts, errors };
}

function identityErrors({ name, role, holds, requireEncrypted }: Candidate): readonly LatchkeyError[] {
  if (holds.kind === "wrong") return [holds.error];
  if (role === "entering") return holds.kind === "absent" ? [holds.error] : [];
  if (holds.kind === "fresh" || (holds.kind === "volume" && holds.state === "unencrypted")) {
    if (!requireEncrypted) return [];
    const what = holds.kind === "fresh" ? holds.why : `${holds.description} is not encrypted`;
    return [
      new LatchkeyError("policy/unencrypted", `${name}: ${what}: refused`, {
        hint: "the disk may have been swapped or reformatted",
      }),
    ];
  }
  return [];
}

/** One disk cannot be two members, nor can it enter a pool that it is in. */
function duplicates(pool: string, candidates: readonly Candidate[]): readonly LatchkeyError[] {
  const errors: LatchkeyError[] = [];
  candidates.forEach((candidate, index) => {
    for (const earlier of candidates.slice(0, index)) {
      const shared = whatIsShared(earlier.holds, candidate.holds);
      if (shared === undefined) continue;
      errors.push(
        candidate.role === "entering"
          ? new LatchkeyError(
              "pool/already-member",
              `${candidate.name} is ${earlier.role === "entering" ? "named twice" : `${earlier.name}, a member of pool ${pool} already`} (${shared})`,
            )
          : new LatchkeyError(
              "pool/duplicate-member",
              `pool ${pool}: ${earlier.name} and ${candidate.name} are one volume (${shared})`,
              { hint: `take one of them out of pools.${pool}.volumes, or disconnect the copy` },
            ),
      );
    }
  });
  return errors;
}

function whatIsShared(one: Holding, other: Holding): string | undefined {
  if (one.kind !== "volume" || other.kind !== "volume") return undefined;
  // What holds no LUKS has none.
  if (one.uuid !== "" && one.uuid === other.uuid) return `UUID ${one.uuid}`;
  return one.devices.find((path) => other.devices.includes(path));
}

function verdictOn(
  { name, role, holds }: Candidate,
  pool: string,
  othersRemain: boolean,
  allowDegraded: boolean,
): Verdict {
  const skip = (why: string): Verdict => ({ do: "skip", why });
  switch (holds.kind) {
    case "wrong":
      return { do: "fail", error: holds.error };
    case "fresh":
      return role === "entering"
        ? skip(`${holds.why}, and is yet to be formatted`)
        : { do: "fail", error: new LatchkeyError("unlock/not-encrypted", `${name}: ${holds.why}`) };
    case "absent":
      if (role === "leaving") return skip("it is not there, and about to be replaced");
      return allowDegraded
        ? skip(`missing: ${holds.error.message}`)
        : { do: "fail", error: absentMember(name, pool, holds.error) };
    case "volume":
      if (role === "leaving" && othersRemain) return skip("it is about to be replaced");
      if (holds.state === "unencrypted" || holds.state === "unprotected") {
        return { do: "fail", error: notEncrypted(name, holds.description, holds.state) };
      }
      return { do: "try" };
  }
}

function notEncrypted(name: string, description: string, state: VolumeState): LatchkeyError {
  const what =
    state === "unencrypted"
      ? "is not encrypted"
      : "is encrypted without a passphrase: its key lies in clear on the disk";
  return new LatchkeyError("unlock/not-encrypted", `${name}: ${description} ${what}`);
}

function absentMember(name: string, pool: string, error: LatchkeyError): LatchkeyError {
  return new LatchkeyError("pool/member-missing", `${name} of pool ${pool} was not verified: ${error.message}`, {
    hint: `connect it, name it with --replacing ${name}, or go without it: --allow-degraded`,
  });
}
