import { LatchkeyError } from "../system/errors.ts";
import { pcrWords } from "../tpm2/pcr-selection.ts";
import { oldName } from "./token-store.ts";
import { type PinWish, pinsOf, type TangWish, type TrustWish, type Wish } from "./wish.ts";

/** One thing an enrolment does. The plan that is shown and the plan that is carried out are the same list. */
export type Step =
  /** Nothing is made before somebody agreed that the token which lies there gives way. */
  | { readonly do: "confirm-replacing"; readonly path: string }
  | { readonly do: "prove-passphrase"; readonly volume: string; readonly from: string; readonly on: string }
  | { readonly do: "trust"; readonly url: string; readonly trust: TrustWish }
  /** The passphrase of a new key slot: random, known to nobody. */
  | { readonly do: "make-key" }
  | { readonly do: "make-recovery-key" }
  | { readonly do: "seal"; readonly pin: PinWish }
  | { readonly do: "open-token"; readonly shares: number }
  | { readonly do: "prove-secret"; readonly on: string }
  | { readonly do: "add-slot"; readonly device: string; readonly slot: number }
  | { readonly do: "prove-slot"; readonly device: string; readonly slot: number }
  | {
      readonly do: "import-token";
      readonly device: string;
      readonly slot: number;
      readonly id: number;
      readonly type: TokenType;
    }
  | { readonly do: "write-token"; readonly path: string; readonly replaces: boolean };

/** `systemd-recovery` marks a slot for systemd-cryptenroll, and holds nothing else. */
export type TokenType = "clevis" | "systemd-recovery";

/** The volume as it was found, as far as the plan depends on it. */
export type TargetFacts =
  | {
      readonly kind: "bcachefs";
      readonly name: string;
      readonly description: string;
      readonly token: string;
      /** A token lies there already. */
      readonly tokenExists: boolean;
    }
  | {
      readonly kind: "luks2";
      readonly name: string;
      readonly device: string;
      /** The key slot and the token number that a new way in will have. */
      readonly slot: number;
      readonly id: number;
    };

export interface Circumstances {
  /** Where the passphrase comes from: `the terminal`, or the name of a file. */
  readonly from: string;
  /** `--force`: a token that lies there gives way without a question. */
  readonly force: boolean;
}

/**
 * The order is the safety: prove, make, prove, and only then write.
 * @throws LatchkeyError enroll/one-passphrase
 */
export function planEnrolment(wish: Wish, target: TargetFacts, { from, force }: Circumstances): readonly Step[] {
  const on = target.kind === "bcachefs" ? target.description : target.device;
  const start: Step = { do: "prove-passphrase", volume: target.name, from, on };
  if (target.kind === "luks2") {
    const { device, slot, id } = target;
    return [
      start,
      ...(wish.method === "recovery" ? ([{ do: "make-recovery-key" }] as const) : sealSteps(wish, { do: "make-key" })),
      { do: "add-slot", device, slot },
      { do: "prove-slot", device, slot },
      { do: "import-token", device, slot, id, type: wish.method === "recovery" ? "systemd-recovery" : "clevis" },
    ];
  }
  if (wish.method === "recovery") throw onePassphrase(target.name);
  const { token: path, tokenExists } = target;
  return [
    ...(tokenExists && !force ? ([{ do: "confirm-replacing", path }] as const) : []),
    start,
    ...sealSteps(wish),
    { do: "prove-secret", on },
    { do: "write-token", path, replaces: tokenExists },
  ];
}

function sealSteps(wish: PinWish, ...first: readonly Step[]): readonly Step[] {
  const servers = pinsOf(wish).filter((pin): pin is TangWish => pin.method === "tang");
  return [
    ...servers.map(({ url, trust }): Step => ({ do: "trust", url, trust })),
    ...first,
    { do: "seal", pin: wish },
    { do: "open-token", shares: wish.method === "sss" ? wish.shares.length : 1 },
  ];
}

function onePassphrase(name: string): LatchkeyError {
  return new LatchkeyError(
    "enroll/one-passphrase",
    `${name} is a bcachefs, which has one passphrase and no key slots: there is no room for a recovery key`,
    { hint: "its passphrase is its recovery key: write it down; `latchkey enroll tang` or `sss` adds a second way in" },
  );
}

/** The step as one line for a person. */
export function describeStep(step: Step): string {
  switch (step.do) {
    case "confirm-replacing":
      return `ask whether ${step.path} may give way to a new token`;
    case "prove-passphrase":
      return `take the passphrase of ${step.volume} from ${step.from}, and prove it on ${step.on}`;
    case "trust":
      return trustLine(step.url, step.trust);
    case "make-key":
      return "make a random passphrase for a new key slot";
    case "make-recovery-key":
      return "make a recovery key, show it once, and have it typed back";
    case "seal":
      return `seal it ${pinLine(step.pin)}`;
    case "open-token":
      return step.shares === 1 ? "open the new token again" : "open each share of the new token again, then the token";
    case "prove-secret":
      return `prove what came out of it on ${step.on}`;
    case "add-slot":
      return `add key slot ${step.slot} to ${step.device}`;
    case "prove-slot":
      return `prove on ${step.device} that it opens key slot ${step.slot}`;
    case "import-token":
      return step.type === "clevis"
        ? `write the token into the header of ${step.device}, as token ${step.id} for key slot ${step.slot}`
        : `mark key slot ${step.slot} of ${step.device} as the recovery key, by token ${step.id}`;
    case "write-token":
      return step.replaces
        ? `keep ${step.path} as ${oldName(step.path)}, and write the new token`
        : `write ${step.path}`;
  }
}

function trustLine(url: string, trust: TrustWish): string {
  switch (trust.by) {
    case "thumbprint":
      return `fetch the keys of ${url}, and compare with the thumbprint ${trust.thumbprint}`;
    case "file":
      return `take the keys of ${url} from ${trust.path}`;
    case "question":
      return `fetch the keys of ${url}, and ask whether they are the right ones`;
  }
}

function pinLine(pin: PinWish): string {
  switch (pin.method) {
    case "tpm2": {
      const bank = pin.bank ? `, bank ${pin.bank.name}` : "";
      const expected = pin.policyDigest ? ", to the expected values given" : "";
      return `to this machine's TPM, ${pin.pcrs.length === 0 ? "without PCRs" : pcrWords(sorted(pin.pcrs))}${bank}${expected}`;
    }
    case "tang":
      return `to the Tang server ${pin.url}`;
    case "sss":
      return `so that ${pin.threshold} of ${pin.shares.length} open it: ${pin.shares.map(pinLine).join("; ")}`;
  }
}

function sorted(pcrs: readonly number[]): readonly number[] {
  return [...new Set(pcrs)].sort((one, other) => one - other);
}
