import type { SecretBytes } from "../system/secret-bytes.ts";
import type { Source, SourceContext } from "./source.ts";

/** A credential that the caller of a command gave: offered once. */
export class GivenSource implements Source {
  readonly kind = "keyfile";
  readonly isQuestion = false;
  readonly name: string;
  readonly volumes: readonly string[];
  readonly #secret: SecretBytes;

  /** @param name what it is in messages: `passphrase file`. Takes over the scope of the secret. */
  constructor(name: string, secret: SecretBytes, volumes: readonly string[]) {
    this.name = name;
    this.#secret = secret;
    this.volumes = volumes;
  }

  async run(context: SourceContext): Promise<void> {
    await context.offer(this.#secret, this.volumes);
  }
}
