import { decryptA256gcm } from "../../jose/a256gcm.ts";
import { contentKey } from "../../jose/concat-kdf.ts";
import { type EcPublicKey, ecPublicJwk, parseEcPublicKey } from "../../jose/ec-jwk.ts";
import { parseJsonObject } from "../../jose/json.ts";
import type { Jwe } from "../../jose/jwe.ts";
import { asLatchkeyError, LatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import { HttpFailure } from "./http.ts";
import type { TangPin } from "./tang-pin.ts";
import { statusError } from "./tang-status.ts";
import type { OpenContext } from "./tools.ts";

/** Milliseconds for the one try of a caller without patience: connecting, the server's arithmetic and the way back. */
const ONLY_TRY_LIMIT = 10_000;
/** Milliseconds for each try of a patient caller: short at first, since a packet lost while the network comes up is common. */
const TRY_LIMITS = [3_000, 6_000, 10_000];
/** Milliseconds between tries: a server that boots after the same power cut is not hammered. */
const PAUSES = [250, 500, 1_000, 2_000];
/** Even the last try, begun just before patience ends, gets this many milliseconds. */
const SHORTEST_TRY = 1_000;
/** A P-521 key has 250 octets as JWK. */
const MAX_ANSWER_BYTES = 16 * 1024;

/** Opens a token of pin tang: one McCallum-Relyea exchange with its server (clevis src/pins/tang/clevis-decrypt-tang). */
export async function openTang(jwe: Jwe, pin: TangPin, context: OpenContext): Promise<SecretBytes> {
  const { BlindedExchange } = await import("../../jose/mccallum-relyea.ts");
  using exchange = new BlindedExchange(pin.serverKey, pin.clientKey);
  const { crv, kty, x, y } = ecPublicJwk(exchange.blinded);
  const question = JSON.stringify({ alg: "ECMR", crv, key_ops: ["deriveKey"], kty, x, y }); // sorted, as clevis sends it
  const asking = askPatiently(pin, question, context);
  asking.catch(() => undefined); // whoever waits for it is told, also when the next line fails
  exchange.prepare();
  const answer = await asking;
  const secret = exchange.unblind(answer, (agreed) => openWith(agreed, jwe));
  if (secret) return secret;
  throw new LatchkeyError("token/tag-mismatch", `tang server ${pin.url}: its answer does not open the token`, {
    hint: "the token was altered or damaged, or something else answers at this address",
  });
}

function openWith(agreed: SecretBytes, jwe: Jwe): SecretBytes | undefined {
  using key = contentKey(agreed, jwe.header);
  try {
    return decryptA256gcm(key, jwe);
  } catch (thrown) {
    if (thrown instanceof LatchkeyError && thrown.code === "token/tag-mismatch") return undefined;
    throw thrown;
  }
}

async function askPatiently(pin: TangPin, question: string, context: OpenContext): Promise<EcPublicKey> {
  const { clock, tangPatience } = context.tools;
  const started = clock.now();
  for (let tries = 1; ; tries += 1) {
    const left = Math.max(SHORTEST_TRY, started + tangPatience - clock.now());
    const timeLimit = tangPatience === 0 ? ONLY_TRY_LIMIT : Math.min(left, nth(TRY_LIMITS, tries));
    const answer = await askOnce(pin, question, timeLimit, context);
    if (!("passing" in answer)) return answer;
    const pause = nth(PAUSES, tries);
    const isLast = clock.now() + pause >= started + tangPatience;
    if (isLast || context.signal.aborted) throw afterTries(answer.passing, tries, clock.now() - started);
    context.stalled(answer.passing);
    await clock.sleep(pause, context.signal);
    if (context.signal.aborted) throw afterTries(answer.passing, tries, clock.now() - started);
  }
}

/** @returns the server's point, or why trying again may help */
async function askOnce(
  pin: TangPin,
  question: string,
  timeLimit: number,
  { tools, signal }: OpenContext,
): Promise<EcPublicKey | { readonly passing: LatchkeyError }> {
  const server = `tang server ${pin.url}`;
  try {
    const { status, body } = await tools.http({
      url: `${pin.url}/rec/${pin.keyId}`,
      method: "POST",
      contentType: "application/jwk+json",
      body: question,
      timeLimit,
      sizeLimit: MAX_ANSWER_BYTES,
      signal,
    });
    if (status === 200) return parseAnswer(body, pin, server);
    const error = statusError(server, status);
    if (error.code === "tang/http-status" && status >= 500) return { passing: error };
    throw error;
  } catch (thrown) {
    if (!(thrown instanceof HttpFailure)) throw thrown;
    const error = new LatchkeyError("tang/unreachable", `${server}: ${thrown.message}`, { cause: thrown });
    if (thrown.isPassing) return { passing: error };
    throw error;
  }
}

function parseAnswer(body: Uint8Array, pin: TangPin, server: string): EcPublicKey {
  try {
    const answer = parseEcPublicKey(parseJsonObject(body, "its answer"), "its answer");
    if (answer.curve === pin.serverKey.curve) return answer;
    throw new LatchkeyError("tang/bad-answer", `its answer is on another curve`);
  } catch (thrown) {
    throw new LatchkeyError("tang/bad-answer", `${server}: ${asLatchkeyError(thrown).message}`, {
      cause: thrown,
      hint: "something other than a Tang server may answer at this address",
    });
  }
}

function afterTries(error: LatchkeyError, tries: number, elapsed: number): LatchkeyError {
  if (tries === 1) return error;
  const message = `${error.message} (${tries} tries in ${Math.round(elapsed / 1000)} s)`;
  return new LatchkeyError(error.code, message, { cause: error });
}

/** The entry for a try counted from 1; the last one stands for all that follow. */
function nth(list: readonly number[], tries: number): number {
  return list[Math.min(tries, list.length) - 1] ?? 0;
}
