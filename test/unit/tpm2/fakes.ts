import { createECDH, createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { LatchkeyError } from "../../../src/system/errors.ts";
import type { Randomness } from "../../../src/tpm2/randomness.ts";
import { Tpm, type TpmOptions } from "../../../src/tpm2/tpm.ts";
import { orAborted, type TpmTransport } from "../../../src/tpm2/transport.ts";
import { concat, hex, u16, u32 } from "../../../src/tpm2/wire.ts";

/** A response without sessions. */
export function response(rc: number, body: Uint8Array = new Uint8Array()): Uint8Array {
  return concat(u16(0x8001), u32(10 + body.length), u32(rc), body);
}

/** The command code of a command, for scripts: 0x157 is Load. */
export function codeOf(command: Uint8Array): number {
  return new DataView(command.buffer, command.byteOffset).getUint32(6);
}

export const NEVER = new Promise<Uint8Array>(() => undefined);

/** A TPM that answers as a function says; remembers what it was sent. */
export class ScriptedTransport implements TpmTransport {
  readonly name = "scripted tpm";
  readonly sent: Uint8Array[] = [];
  closed = 0;
  readonly #answer: (command: Uint8Array, index: number) => Uint8Array | Promise<Uint8Array>;

  constructor(answer: (command: Uint8Array, index: number) => Uint8Array | Promise<Uint8Array>) {
    this.#answer = answer;
  }

  async transmit(command: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    this.sent.push(command.slice());
    return await orAborted(Promise.resolve(this.#answer(command, this.sent.length - 1)), signal);
  }

  close(): void {
    this.closed += 1;
  }

  codes(): number[] {
    return this.sent.map(codeOf);
  }
}

/** A Tpm over one given transport; a second connection is an error. */
export function tpmOver(transport: TpmTransport, options: TpmOptions = {}): Tpm {
  let opened = false;
  const open = async (): Promise<TpmTransport> => {
    if (opened) throw new LatchkeyError("tpm2/unreachable", "it was opened a second time");
    opened = true;
    return transport;
  };
  return new Tpm({ kind: "first-device" }, { ...options, open });
}

const nodeNames: Readonly<Record<string, string>> = {
  "P-256": "prime256v1",
  "P-384": "secp384r1",
  "P-521": "secp521r1",
};

/** Octets that look random and are the same in every run. */
export function repeatableRandom(): Randomness {
  let counter = 0;
  const fill = (bytes: Uint8Array): void => {
    for (let offset = 0; offset < bytes.length; offset += 32) {
      counter += 1;
      bytes.set(
        createHash("sha256")
          .update(`octets ${counter}`)
          .digest()
          .subarray(0, bytes.length - offset),
        offset,
      );
    }
  };
  return {
    fill,
    async keyPair({ name, size }) {
      const pair = createECDH(nodeNames[name] ?? name);
      const scalar = new Uint8Array(size);
      for (;;) {
        fill(scalar);
        if (size === 66) scalar[0] = (scalar[0] ?? 0) & 1; // 521 bits
        try {
          pair.setPrivateKey(scalar);
          break;
        } catch {
          // Not below the order of the curve: the next one.
        }
      }
      const own = pair.getPublicKey();
      const [x, y] = [own.subarray(1, 1 + size), own.subarray(1 + size)];
      return { x, y, agree: async (point) => pair.computeSecret(point) };
    },
  };
}

/** What a real TPM (swtpm 0.7.1) was sent and answered: made by record-transcripts.ts. */
export interface Transcript {
  readonly what: string;
  readonly exchanges: readonly (readonly [command: string, response: string])[];
}

export function loadTranscript(name: string): Transcript {
  return JSON.parse(readFileSync(join(import.meta.dir, "transcripts", `${name}.json`), "utf8")) as Transcript;
}

/** Answers from a transcript as long as it is sent exactly what was sent then. */
export function replay(transcript: Transcript): ScriptedTransport {
  return new ScriptedTransport((command, index) => {
    const [wanted, answer] = transcript.exchanges[index] ?? ["nothing more", ""];
    if (hex(command) !== wanted) throw new Error(`command ${index} was ${hex(command)} and had been ${wanted}`);
    return Buffer.from(answer, "hex");
  });
}

/** Passes everything on and writes it down. */
export class RecordingTransport implements TpmTransport {
  readonly name: string;
  readonly exchanges: [string, string][] = [];
  readonly #inner: TpmTransport;
  /** Runs before a command is passed on: something that happens meanwhile. */
  readonly #before: (command: Uint8Array, inner: TpmTransport) => Promise<void>;

  constructor(
    inner: TpmTransport,
    before: (command: Uint8Array, inner: TpmTransport) => Promise<void> = async () => undefined,
  ) {
    this.name = inner.name;
    this.#inner = inner;
    this.#before = before;
  }

  async transmit(command: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    await this.#before(command, this.#inner);
    const answer = await this.#inner.transmit(command, signal);
    this.exchanges.push([hex(command), hex(answer)]);
    return answer;
  }

  close(): void {
    this.#inner.close();
  }
}
