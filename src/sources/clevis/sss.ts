import { decryptA256gcm } from "../../jose/a256gcm.ts";
import { asLatchkeyError, type LatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import { CollectedShares } from "./shamir.ts";
import { type ShareStanding, thresholdError } from "./threshold-error.ts";
import type { SssPin, Token } from "./token.ts";
import type { OpenContext } from "./tools.ts";

/** Opens one token of the tree. */
export type OpenToken = (token: Token, context: OpenContext) => Promise<SecretBytes>;

/**
 * Opens a token of pin sss: all shares side by side, so that none waits for another; done as soon as the threshold is
 * reached or out of reach, and then the rest is cancelled. Only shares whose own tag held are used (clevis ignores the exit
 * status of a share's decryption).
 */
export async function openSss(token: Token, pin: SssPin, context: OpenContext, open: OpenToken): Promise<SecretBytes> {
  using collected = new CollectedShares(pin.prime);
  const cancel = new AbortController();
  const signal = AbortSignal.any([context.signal, cancel.signal]);
  const standings: ShareStanding[] = [];
  for (const share of pin.shares) {
    standings.push("token" in share ? { is: "pending" } : { is: "failed", error: share.error });
  }
  const finished = Promise.withResolvers<void>();
  let over = false;
  const finish = (error?: LatchkeyError): void => {
    over = true; // what comes after this is not looked at, even if it comes before the promise is
    if (error) finished.reject(error);
    else finished.resolve();
  };

  const count = (...kinds: ShareStanding["is"][]): number => {
    let those = 0;
    for (const { is } of standings) if (kinds.includes(is)) those += 1;
    return those;
  };
  const judge = (): void => {
    if (over) return;
    if (collected.count >= pin.threshold) finish();
    else if (count("opened", "pending", "stalled") < pin.threshold) finish(thresholdError(pin, standings));
    else if (count("opened", "pending") < pin.threshold) context.stalled(thresholdError(pin, standings));
  };
  const settle = (index: number, standing: ShareStanding): void => {
    standings[index] = standing;
    judge();
  };

  const openShare = async (share: Token, index: number): Promise<void> => {
    try {
      using secret = await open(share, {
        tools: context.tools,
        signal,
        stalled: (error: LatchkeyError) => settle(index, { is: "stalled", error }),
      });
      if (over) return; // too late: wiped at the end of this scope
      try {
        collected.add(secret);
      } catch (thrown) {
        settle(index, { is: "failed", error: asLatchkeyError(thrown), isNoShare: true });
        return;
      }
      settle(index, { is: "opened" });
    } catch (thrown) {
      settle(index, { is: "failed", error: asLatchkeyError(thrown) });
    }
  };

  const whenAborted = (): void => finish(thresholdError(pin, standings));
  try {
    judge();
    if (context.signal.aborted) whenAborted();
    else context.signal.addEventListener("abort", whenAborted, { once: true });
    for (const index of localFirst(pin)) {
      const share = pin.shares[index];
      if (!over && share && "token" in share) void openShare(share.token, index);
    }
    await finished.promise;
    using key = collected.combine();
    return decryptA256gcm(key, token.jwe);
  } finally {
    context.signal.removeEventListener("abort", whenAborted);
    cancel.abort();
  }
}

/** The arithmetic for a server takes milliseconds: what needs no network is started before it. */
function localFirst(pin: SssPin): readonly number[] {
  const isLocal = (index: number): boolean => {
    const share = pin.shares[index];
    return share !== undefined && "token" in share && ["tpm2", "null"].includes(share.token.pin.kind);
  };
  const [local, others]: [number[], number[]] = [[], []];
  for (let index = 0; index < pin.shares.length; index += 1) (isLocal(index) ? local : others).push(index);
  return [...local, ...others];
}
