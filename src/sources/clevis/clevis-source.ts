import { asLatchkeyError, LatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import type { Source, SourceContext } from "../source.ts";
import { openToken } from "./decrypt.ts";
import { parseToken } from "./token.ts";
import type { FoundToken } from "./token-file.ts";
import type { ClevisTools } from "./tools.ts";

/** Milliseconds beyond the limit for a last try begun within it, so that the reason is a server's and not the clock's. */
const GRACE = 1_500;

export interface ClevisSourceSettings {
  /** In messages and in the report: `clevis` unless a volume has several. */
  readonly name?: string;
  /** What the secret opens. */
  readonly volumes: readonly string[];
  /** The tokens lie in the headers of these volumes: what they hold opens nothing else. */
  readonly opensAlone?: boolean;
  /** Reads the tokens when the source starts; may wait for a device that holds them. */
  findTokens(signal: AbortSignal): Promise<readonly FoundToken[]>;
  /** Milliseconds for opening, from when the tokens are there. Servers that do not answer are tried again until then. */
  readonly timeLimit: number;
  /** Shared by all volumes: one TPM does one thing at a time. */
  readonly tools: ClevisTools;
}

/**
 * Opens Clevis tokens and offers what they hold; several tokens side by side, first come, first served. Nothing is waited for
 * that the tokens do not need: no TPM for Tang, no network for a TPM. That the network is up is learnt from the server that
 * answers, never from the network's own word.
 */
export class ClevisSource implements Source {
  readonly kind = "clevis";
  readonly name: string;
  readonly isQuestion = false;
  readonly opensAlone: boolean;
  readonly volumes: readonly string[];
  readonly #settings: ClevisSourceSettings;

  constructor(settings: ClevisSourceSettings) {
    this.opensAlone = settings.opensAlone === true;
    this.name = settings.name ?? "clevis";
    this.volumes = settings.volumes;
    this.#settings = settings;
  }

  async run(context: SourceContext): Promise<void> {
    const tokens = await this.#settings.findTokens(context.signal);
    await new Run(this.#settings, tokens, context).finish();
  }
}

/** One run over the tokens that were found. */
class Run {
  readonly #settings: ClevisSourceSettings;
  readonly #tokens: readonly FoundToken[];
  readonly #context: SourceContext;
  readonly #over = new AbortController();
  readonly #signal: AbortSignal;
  readonly #failed = new Map<FoundToken, LatchkeyError>();
  readonly #stalled = new Map<FoundToken, LatchkeyError>();
  #isOpen = false;
  #isLate = false;
  #toldSo = false;

  constructor(settings: ClevisSourceSettings, tokens: readonly FoundToken[], context: SourceContext) {
    this.#settings = settings;
    this.#tokens = tokens;
    this.#context = context;
    this.#signal = AbortSignal.any([context.signal, this.#over.signal]);
  }

  async finish(): Promise<void> {
    const { clock } = this.#settings.tools;
    void clock.sleep(this.#settings.timeLimit + GRACE, this.#signal).then(() => {
      this.#isLate = !this.#signal.aborted;
      this.#over.abort();
    });
    await Promise.all(this.#tokens.map((token) => this.#try(token)));
    this.#over.abort();
    if (!this.#isOpen && this.#failed.size > 0) throw together([...this.#failed.values()]);
  }

  async #try(token: FoundToken): Promise<void> {
    const { tools, timeLimit } = this.#settings;
    try {
      const secret = await openToken(
        parseToken(token.text),
        { ...tools, tangPatience: timeLimit },
        this.#signal,
        (reason) => {
          this.#stalled.set(token, about(token, reason));
          this.#tellWhenStuck();
        },
      );
      await this.#offer(token, secret);
    } catch (thrown) {
      const error = about(token, asLatchkeyError(thrown));
      this.#failed.set(token, this.#isLate ? outOfTime(error, timeLimit) : error);
      this.#tellWhenStuck();
    } finally {
      this.#stalled.delete(token);
    }
  }

  /** A secret that opens nothing is in the report already, with what the volume said to it. */
  async #offer(token: FoundToken, secret: SecretBytes): Promise<void> {
    if (secret.length === 0) {
      secret[Symbol.dispose]();
      throw new LatchkeyError("token/empty-secret", "it holds an empty secret, and no disk has an empty key");
    }
    this.#context.note(`${token.origin} opened`);
    const { opened } = await this.#context.offer(secret, this.#settings.volumes);
    if (opened.length === 0) return;
    this.#isOpen = true;
    this.#over.abort();
  }

  /** The question need not wait for servers that fail for now: they are tried again beside it. */
  #tellWhenStuck(): void {
    const isStuck = this.#tokens.every((token) => this.#failed.has(token) || this.#stalled.has(token));
    if (this.#toldSo || this.#stalled.size === 0 || !isStuck) return;
    this.#toldSo = true;
    this.#context.nothingYet(together([...this.#failed.values(), ...this.#stalled.values()]));
  }
}

function about(token: FoundToken, error: LatchkeyError): LatchkeyError {
  return retold(error, `${token.origin}: ${error.message}`);
}

function outOfTime(error: LatchkeyError, limit: number): LatchkeyError {
  const message = `${error.message} (given up after ${limit / 1000} s)`;
  return error.code === "tpm2/interrupted" ? new LatchkeyError("source/timed-out", message) : retold(error, message);
}

function together(errors: readonly LatchkeyError[]): LatchkeyError {
  const [first] = errors;
  if (!first) return new LatchkeyError("internal/defect", "no reason was given");
  return retold(first, errors.map((error) => error.message).join("; "));
}

function retold(error: LatchkeyError, message: string): LatchkeyError {
  const { code, hint } = error;
  return new LatchkeyError(code, message, hint === undefined ? { cause: error } : { cause: error, hint });
}
