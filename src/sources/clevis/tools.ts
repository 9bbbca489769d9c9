import type { JsonObject } from "../../jose/json.ts";
import type { Clock } from "../../system/clock.ts";
import type { LatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import type { HttpExchange } from "./http.ts";

/** What opening a token needs from the machine; tests bring their own. */
export interface ClevisTools {
  /** Unseals the shares of the tpm2 pin. Absent: such shares fail, the others go on. */
  readonly tpm2?: Tpm2Opener;
  readonly http: HttpExchange;
  /** The installed `clevis decrypt`, for pins latchkey does not know. Absent: it is not installed. */
  readonly fallback?: ClevisFallback | undefined;
  readonly clock: Clock;
  /**
   * Milliseconds from the start during which a Tang server that does not answer is tried again. 0: one try, as clevis does.
   */
  readonly tangPatience: number;
}

/** The tpm2 pin as the rest of clevis sees it. */
export interface Tpm2Opener {
  /**
   * Unseals the content key (32 bytes) of a token of pin tpm2. Several shares of one token call this side by side: the
   * opener queues them, since a TPM does one thing at a time.
   * @param pin the object `clevis.tpm2` of the token's header: JSON, otherwise unchecked
   * @throws LatchkeyError; code `token/unsupported` hands the token on to an installed clevis
   */
  open(pin: JsonObject, signal: AbortSignal): Promise<SecretBytes>;
}

export interface ClevisFallback {
  /** Is the program of this pin installed? The name has been checked. */
  has(pin: string): boolean;
  /** @param compact the token, nothing before or after it */
  decrypt(compact: string, signal: AbortSignal): Promise<SecretBytes>;
}

/** Passed down the pin tree while it is being opened. */
export interface OpenContext {
  readonly tools: ClevisTools;
  /** Aborted when this share is no longer wanted. */
  readonly signal: AbortSignal;
  /** For now this cannot be opened, though it is still being tried. May be called several times. */
  stalled(reason: LatchkeyError): void;
}
