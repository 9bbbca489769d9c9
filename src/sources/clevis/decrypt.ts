import { decryptA256gcm } from "../../jose/a256gcm.ts";
import type { JsonObject } from "../../jose/json.ts";
import { quote } from "../../jose/malformed.ts";
import { asLatchkeyError, LatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import { nullPinKey } from "./null.ts";
import type { Token } from "./token.ts";
import type { ClevisTools, OpenContext } from "./tools.ts";

/**
 * Opens a token: the secret comes out only when the tag of the token, and of each share used, held.
 * @param stalled called when nothing that is left can open the token before a server that fails for now recovers
 * @throws LatchkeyError and nothing else
 */
export async function openToken(
  token: Token,
  tools: ClevisTools,
  signal: AbortSignal,
  stalled: (reason: LatchkeyError) => void = () => undefined,
): Promise<SecretBytes> {
  try {
    return await openAny(token, { tools, signal, stalled });
  } catch (thrown) {
    throw asLatchkeyError(thrown);
  }
}

/** Loads what a pin needs when a token has it: most have one pin, and a start pays for all that is loaded. */
async function openAny(token: Token, context: OpenContext): Promise<SecretBytes> {
  const { pin } = token;
  switch (pin.kind) {
    case "null": {
      using key = nullPinKey(pin.data);
      return decryptA256gcm(key, token.jwe);
    }
    case "tpm2":
      return await openTpm2(token, pin.data, context);
    case "tang": {
      const { openTang } = await import("./tang.ts");
      return await openTang(token.jwe, pin, context);
    }
    case "sss": {
      const { openSss } = await import("./sss.ts");
      return await openSss(token, pin, context, openAny);
    }
    case "other":
      return await openOther(token, pin.name, context);
  }
}

async function openTpm2(token: Token, data: JsonObject, context: OpenContext): Promise<SecretBytes> {
  const { tpm2 } = context.tools;
  if (!tpm2) throw new LatchkeyError("token/unsupported", "the token needs a TPM, and latchkey runs without one here");
  try {
    using key = await tpm2.open(data, context.signal);
    return decryptA256gcm(key, token.jwe);
  } catch (thrown) {
    // clevis hands algorithm names to tpm2-tools as they are, so it may know one that latchkey does not.
    const isUnsupported = thrown instanceof LatchkeyError && thrown.code === "token/unsupported";
    if (!isUnsupported) throw thrown;
    const { fallback } = context.tools;
    if (!fallback?.has("tpm2")) throw thrown;
    return await fallback.decrypt(token.compact, context.signal).catch(() => {
      throw thrown; // what latchkey says about the algorithm is clearer than a pipeline's last words
    });
  }
}

async function openOther(token: Token, name: string, { tools, signal }: OpenContext): Promise<SecretBytes> {
  // The name becomes part of a command's name there (clevis-decrypt-NAME).
  const isName = /^[a-z0-9][a-z0-9_-]{0,63}$/.test(name);
  if (isName && tools.fallback?.has(name)) return await tools.fallback.decrypt(token.compact, signal);
  throw new LatchkeyError("token/unknown-pin", `the token has the pin ${quote(name)}, which latchkey does not know`, {
    ...(isName ? { hint: `install clevis and its pin ${name}: latchkey then leaves such tokens to it` } : {}),
  });
}
