import type { KeyFilePlan, KeyFormat } from "../../config/plan.ts";
import { LatchkeyError } from "../../system/errors.ts";
import { readSecret } from "../../system/secret-input.ts";
import { decodeKey } from "../key-format.ts";
import type { Source, SourceContext } from "../source.ts";

export interface KeyFileSourceSettings {
  readonly file: KeyFilePlan;
  readonly format: KeyFormat;
  /** What the key opens. */
  readonly volumes: readonly string[];
}

/** A key file in the initrd, for machines that hold nothing worth it: whoever reads /boot has the key. */
export class KeyFileSource implements Source {
  readonly kind = "keyfile";
  readonly name: string;
  readonly isQuestion = false;
  readonly volumes: readonly string[];
  readonly #settings: KeyFileSourceSettings;

  constructor(settings: KeyFileSourceSettings) {
    this.name = `key file ${settings.file.path}`;
    this.volumes = settings.volumes;
    this.#settings = settings;
  }

  /** @throws LatchkeyError key-file/… */
  async run(context: SourceContext): Promise<void> {
    const { file, format, volumes } = this.#settings;
    const content = readFile(file.path);
    try {
      decodeKey(content, format, file.path);
    } catch (thrown) {
      content[Symbol.dispose]();
      throw thrown;
    }
    await context.offer(content, volumes);
  }
}

function readFile(path: string) {
  try {
    return readSecret(path);
  } catch (thrown) {
    if (!(thrown instanceof LatchkeyError) || thrown.code !== "secret/unreadable") throw thrown;
    throw new LatchkeyError("key-file/missing", thrown.message, {
      cause: thrown,
      hint: "a key file comes into the initrd when the image is made: latchkey install",
    });
  }
}
