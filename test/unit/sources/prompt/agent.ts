import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { sendDatagram } from "../../../../src/system/unix-datagram.ts";

export interface SeenQuestion {
  readonly file: string;
  readonly text: string;
  readonly message: string;
  readonly socket: string;
}

/** A password agent on a folder of its own that speaks the protocol over real sockets; the test is the person behind it. */
export class TestAgent implements Disposable {
  readonly folder = mkdtempSync("/tmp/latchkey-agents-");

  files(): readonly string[] {
    return readdirSync(this.folder);
  }

  questions(): readonly SeenQuestion[] {
    return this.files()
      .filter((name) => name.startsWith("ask."))
      .map((name) => {
        const text = readFileSync(join(this.folder, name), "utf8");
        return { file: join(this.folder, name), text, message: value(text, "Message"), socket: value(text, "Socket") };
      });
  }

  /** Waits until a question with these words is up. */
  async sees(words: string): Promise<SeenQuestion> {
    for (let tries = 0; tries < 500; tries++) {
      const question = this.questions().find(({ message }) => message.includes(words));
      if (question) return question;
      await Bun.sleep(5);
    }
    throw new Error(`no question says ${JSON.stringify(words)}`);
  }

  async seesNone(): Promise<void> {
    for (let tries = 0; this.files().length > 0; tries++) {
      if (tries === 500) throw new Error(`left in the folder: ${this.files().join(" ")}`);
      await Bun.sleep(5);
    }
  }

  send(question: SeenQuestion, bytes: Uint8Array | string): void {
    const copy = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes.slice();
    using secret = SecretBytes.take(copy);
    sendDatagram(question.socket, secret);
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true });
  }
}

function value(text: string, key: string): string {
  return new RegExp(`^${key}=(.*)$`, "m").exec(text)?.[1] ?? "";
}

/** A copy of a secret for expect(); for tests alone. */
export function reveal(answer: { kind: string; secret?: SecretBytes } | undefined): string | undefined {
  if (!answer?.secret) return answer?.kind;
  using secret = answer.secret;
  return new TextDecoder().decode(secret.bytes);
}
