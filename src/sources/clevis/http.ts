export interface HttpRequest {
  /** http or https. */
  readonly url: string;
  readonly method: "GET" | "POST";
  readonly contentType?: string;
  readonly body?: string;
  /** Milliseconds until the whole answer is there. */
  readonly timeLimit: number;
  /** Octets; a longer answer is an error. */
  readonly sizeLimit: number;
  readonly signal: AbortSignal;
}

export interface HttpAnswer {
  readonly status: number;
  readonly body: Uint8Array;
}

/** @throws HttpFailure */
export type HttpExchange = (request: HttpRequest) => Promise<HttpAnswer>;

/** Why there is no answer, in words that follow the name of the server. */
export class HttpFailure extends Error {
  override readonly name = "HttpFailure";
  /** Trying again may help. */
  readonly isPassing: boolean;

  constructor(message: string, isPassing: boolean, cause?: unknown) {
    super(message, { cause });
    this.isPassing = isPassing;
  }
}

export interface HttpOptions {
  /** PEM certificates that https servers must be signed by, instead of the ones that come with latchkey. */
  readonly certificateAuthority?: string;
}

/** What Bun's fetch has beyond the standard and its published types. */
type BunRequest = Omit<BunFetchRequestInit, "proxy"> & { readonly proxy: false; readonly decompress: false };

/**
 * HTTP over Bun's fetch, held to what a Tang server needs. Left alone, fetch would follow redirects, go through the proxy
 * that the environment names, keep the connection, and unpack a compressed answer to any size.
 */
export function httpOverFetch(options: HttpOptions = {}): HttpExchange {
  const { certificateAuthority } = options;
  return async ({ url, method, contentType, body, timeLimit, sizeLimit, signal }) => {
    const limit = AbortSignal.timeout(timeLimit);
    const request: BunRequest = {
      method,
      redirect: "manual",
      proxy: false,
      decompress: false,
      keepalive: false,
      signal: AbortSignal.any([signal, limit]),
      ...(contentType === undefined ? {} : { headers: { "content-type": contentType } }),
      ...(body === undefined ? {} : { body }),
      ...(certificateAuthority === undefined ? {} : { tls: { ca: certificateAuthority } }),
    };
    try {
      const response = await fetch(url, request as BunFetchRequestInit);
      return { status: response.status, body: await readBounded(response, sizeLimit) };
    } catch (thrown) {
      if (thrown instanceof HttpFailure) throw thrown;
      if (limit.aborted) throw new HttpFailure(`no answer within ${timeLimit / 1000} s`, true, thrown);
      throw asHttpFailure(thrown);
    }
  };
}

async function readBounded(response: Response, sizeLimit: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    // Leaving the loop cancels the stream, which closes the connection.
    if (size > sizeLimit) throw new HttpFailure(`an answer longer than ${sizeLimit} bytes`, false);
    chunks.push(chunk);
  }
  const [only] = chunks;
  return chunks.length === 1 && only ? only : Buffer.concat(chunks);
}

/** OpenSSL's names for what is wrong with a certificate, x509_vfy.h, and Node's for a name that does not match. */
const CERTIFICATE_ERROR =
  /^(UNABLE_TO_|CERT_|CRL_|SELF_SIGNED|DEPTH_ZERO|ERR_TLS_CERT|HOSTNAME_MISMATCH|INVALID_|PATH_LENGTH|ERROR_IN_CERT)/;

/** The codes of Bun's fetch, in words. A certificate error has the code of OpenSSL. */
function asHttpFailure(thrown: unknown): HttpFailure {
  const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  if (code === "ECONNREFUSED" || code === "ConnectionRefused") {
    return new HttpFailure("the connection was refused, or there is no route to it yet", true, thrown);
  }
  if (code === "ENOTFOUND" || code.startsWith("EAI_")) {
    return new HttpFailure("its name has no address, or no name server answers yet", true, thrown);
  }
  if (CERTIFICATE_ERROR.test(code)) {
    const clock = /EXPIRED|NOT_YET_VALID/.test(code) ? "; is the clock of this machine right?" : "";
    return new HttpFailure(`its certificate is not trusted (${code}${clock})`, false, thrown);
  }
  if (code === "ECONNRESET" || code === "ConnectionClosed") {
    return new HttpFailure("it closed the connection without an answer", true, thrown);
  }
  return new HttpFailure(`no answer (${code === "" ? message : code})`, true, thrown);
}
