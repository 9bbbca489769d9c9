import { thumbprint } from "../../jose/ec-jwk.ts";
import { quote } from "../../jose/malformed.ts";
import { asLatchkeyError, type LatchkeyError } from "../../system/errors.ts";
import type { Share, Token } from "./token.ts";
import { tpm2Needs } from "./tpm2-open.ts";

/** What a token wants before it opens, for people and for JSON. It holds no secret, not even the null pin's. */
export type PinDescription =
  | {
      readonly pin: "tpm2";
      readonly key: string;
      readonly hash: string;
      /** None: any system that runs on this machine can open it. */
      readonly pcrs: { readonly bank: string; readonly pcrs: readonly number[] } | null;
    }
  | { readonly pin: "tang"; readonly url: string; readonly curve: string; readonly exchange_key: string }
  | {
      readonly pin: "sss";
      readonly threshold: number;
      readonly shares: readonly PinDescription[];
      /** Beyond the number that latchkey looks at. */
      readonly shares_left_out: number;
    }
  /** Its key lies in the token in clear. */
  | { readonly pin: "null" }
  /** Left to an installed clevis. */
  | { readonly pin: "other"; readonly name: string }
  /** A part that latchkey cannot use. */
  | { readonly pin: "unusable"; readonly code: string; readonly reason: string };

export function describePinTree({ pin }: Token): PinDescription {
  switch (pin.kind) {
    case "tpm2": {
      try {
        const { key, hash, pcrs } = tpm2Needs(pin.data);
        return { pin: "tpm2", key, hash, pcrs: pcrs ?? null };
      } catch (thrown) {
        return unusable(asLatchkeyError(thrown));
      }
    }
    case "tang": {
      const { url, serverKey } = pin;
      return { pin: "tang", url, curve: serverKey.curve.name, exchange_key: thumbprint(serverKey) };
    }
    case "sss":
      return {
        pin: "sss",
        threshold: pin.threshold,
        shares: pin.shares.map(describeShare),
        shares_left_out: pin.sharesLeftOut,
      };
    case "null":
      return { pin: "null" };
    case "other":
      return { pin: "other", name: pin.name };
  }
}

function describeShare(share: Share): PinDescription {
  return "token" in share ? describePinTree(share.token) : unusable(share.error);
}

function unusable({ code, message }: LatchkeyError): PinDescription {
  return { pin: "unusable", code, reason: message };
}

/** Does the token open without it, could it use it, or can nothing open it without? */
export type Need = "none" | "optional" | "required";

export interface TokenNeeds {
  readonly tpm: Need;
  readonly network: Need;
  /** An installed clevis, for pins that latchkey does not know. */
  readonly clevis: Need;
}

type Resource = keyof TokenNeeds;

/** What must be in place, so that an initrd carries network and TPM drivers only when some token uses them. */
export function tokenNeeds(tree: PinDescription): TokenNeeds {
  const need = (resource: Resource): Need => {
    if (!uses(tree, resource)) return "none";
    return opensWithout(tree, resource) ? "optional" : "required";
  };
  return { tpm: need("tpm"), network: need("network"), clevis: need("clevis") };
}

function resourceOf(tree: PinDescription): Resource | undefined {
  if (tree.pin === "tpm2") return "tpm";
  if (tree.pin === "tang") return "network";
  return tree.pin === "other" ? "clevis" : undefined;
}

function uses(tree: PinDescription, resource: Resource): boolean {
  return tree.pin === "sss" ? tree.shares.some((share) => uses(share, resource)) : resourceOf(tree) === resource;
}

function opensWithout(tree: PinDescription, resource: Resource): boolean {
  if (tree.pin === "unusable") return false;
  if (tree.pin !== "sss") return resourceOf(tree) !== resource;
  return tree.shares.filter((share) => opensWithout(share, resource)).length >= tree.threshold;
}

/** The tree as lines, deeper levels indented. */
export function pinTreeLines(tree: PinDescription): readonly string[] {
  switch (tree.pin) {
    case "tpm2": {
      const from = tree.pcrs
        ? `PCR ${tree.pcrs.pcrs.join(", ")} of bank ${tree.pcrs.bank} with the values it is sealed to`
        : "no PCRs: any system that runs on this machine opens it";
      return [`tpm2: this machine's TPM, ${from} (key ${tree.key}, hash ${tree.hash})`];
    }
    case "tang":
      return [`tang: server ${tree.url} (exchange key ${tree.exchange_key}, ${tree.curve})`];
    case "sss": {
      const head = `sss: ${tree.threshold} of ${tree.shares.length + tree.shares_left_out} shares`;
      const shares = tree.shares.flatMap((share) => pinTreeLines(share).map((line) => `  ${line}`));
      return [head, ...collapsed(shares), ...(tree.shares_left_out > 0 ? ["  the others are not looked at"] : [])];
    }
    case "null":
      return ["null: the key is in the token itself, so it protects nothing"];
    case "other":
      return [`${quote(tree.name)}: a pin latchkey leaves to an installed clevis`];
    case "unusable":
      return [`unusable: ${tree.reason}`];
  }
}

/** Lines that repeat, as in a token made to be a burden, once with their number. */
function collapsed(lines: readonly string[]): readonly string[] {
  const runs: { readonly line: string; count: number }[] = [];
  for (const line of lines) {
    const last = runs.at(-1);
    if (last?.line === line) last.count += 1;
    else runs.push({ line, count: 1 });
  }
  return runs.map(({ line, count }) => (count === 1 ? line : `${line} (${count} times)`));
}
