import { randomFillSync } from "node:crypto";
import { encodeSecretBase64url } from "../jose/base64url.ts";
import { type JsonObject, sortedJson } from "../jose/json.ts";
import type { Luks2Device } from "../providers/luks/luks2-device.ts";
import { luks2TokenObject } from "../sources/clevis/seal.ts";
import type { Advertisement } from "../sources/clevis/tang-advertisement.ts";
import type { Token } from "../sources/clevis/token.ts";
import type { ClevisTools } from "../sources/clevis/tools.ts";
import { asLatchkeyError, LatchkeyError } from "../system/errors.ts";
import { SecretBytes } from "../system/secret-bytes.ts";
import type { Tpm } from "../tpm2/tpm.ts";
import { provenPassphrase } from "./passphrase.ts";
import type { Person } from "./person.ts";
import { proveToken } from "./prove-token.ts";
import { proveRecoveryKey } from "./recovery-dialogue.ts";
import { newRecoveryKey } from "./recovery-key.ts";
import { SealedKeys, sealToken } from "./seal-token.ts";
import { describeStep, type Step } from "./steps.ts";
import { proveOn, type Target } from "./target.ts";
import { storeToken } from "./token-store.ts";
import { trustedAdvertisement } from "./trust.ts";
import { removalOfSlot, type Undo, undoAll } from "./undo.ts";

export interface EnrolmentMeans {
  readonly target: Target;
  readonly person: Person;
  /** From a file. Absent: the person is asked. Stays the caller's. */
  readonly passphrase?: SecretBytes | undefined;
  openTpm(): Tpm;
  openTools(): ClevisTools & AsyncDisposable;
  /** One line of what is being done. */
  say(line: string): void;
  /** Something to know about what was made, one line. */
  note(text: string): void;
  readonly signal: AbortSignal;
}

export interface Enrolled {
  /** Nothing for a recovery key. */
  readonly token: Token | undefined;
  /** False: part of the token opens only to PCR values that are not today's. */
  readonly openedHere: boolean;
  /** Where the token that lay there before is kept. */
  readonly old: string | undefined;
}

/** `clevis luks bind` takes as many random octets. */
const KEY_OCTETS = 40;

/** Carries the steps out, each announced by its line. When one fails, what earlier ones put into a header is taken out again. */
export async function runEnrolment(steps: readonly Step[], means: EnrolmentMeans): Promise<Enrolled> {
  using enrolment = new Enrolment(means);
  try {
    for (const step of steps) {
      if (means.signal.aborted) throw interrupted(means.target);
      means.say(describeStep(step));
      await enrolment.carryOut(step);
    }
  } catch (thrown) {
    const error = means.signal.aborted ? interrupted(means.target, thrown) : asLatchkeyError(thrown);
    throw await enrolment.undone(error);
  }
  return enrolment.result;
}

class Enrolment implements Disposable {
  readonly #means: EnrolmentMeans;
  readonly #scope = new DisposableStack();
  readonly #keys: SealedKeys;
  readonly #advertisements = new Map<string, Advertisement>();
  readonly #undos: Undo[] = [];
  #passphrase: SecretBytes | undefined;
  /** What the new token or slot is to hold: for a new slot its key, otherwise the passphrase itself. */
  #secret: SecretBytes | undefined;
  /** The same as it came out again: of the token, or of a person's hands. */
  #proven: SecretBytes | undefined;
  #token: Token | undefined;
  #openedHere = true;
  #text = "";
  #old: string | undefined;

  constructor(means: EnrolmentMeans) {
    this.#means = means;
    this.#keys = this.#scope.use(new SealedKeys());
  }

  get result(): Enrolled {
    return { token: this.#token, openedHere: this.#openedHere, old: this.#old };
  }

  async carryOut(step: Step): Promise<void> {
    const { target, person, signal } = this.#means;
    switch (step.do) {
      case "confirm-replacing":
        return await this.#confirmReplacing(step.path);
      case "prove-passphrase":
        return await this.#provePassphrase();
      case "trust": {
        await using tools = this.#means.openTools();
        this.#advertisements.set(step.url, await trustedAdvertisement(step.url, step.trust, { tools, person, signal }));
        return;
      }
      case "make-key":
        this.#secret = this.#scope.use(randomPassphrase());
        return;
      case "make-recovery-key":
        this.#secret = this.#scope.use(newRecoveryKey());
        this.#proven = this.#scope.use(await proveRecoveryKey(this.#secret, target.facts.name, person, signal));
        return;
      case "seal": {
        const means = { ...this.#means, advertisements: this.#advertisements, keys: this.#keys };
        this.#text = await sealToken(step.pin, this.#wanted(this.#secret), means, signal);
        return;
      }
      case "open-token": {
        const proof = { ...this.#means, keys: this.#keys };
        const { token, secret, openedHere } = await proveToken(this.#text, this.#wanted(this.#secret), proof, signal);
        this.#proven = this.#scope.use(secret);
        this.#token = token;
        this.#openedHere = openedHere;
        return;
      }
      case "prove-secret":
        return await proveOn(target, this.#wanted(this.#proven), signal);
      case "add-slot":
        return await this.#addSlot(this.#device(), step.slot);
      case "prove-slot":
        return await this.#proveSlot(this.#device(), step.slot);
      case "import-token": {
        const { type, slot, id } = step;
        const clevis = type === "clevis" ? luks2TokenObject(this.#text, slot) : undefined;
        return await this.#importToken(this.#device(), id, clevis ?? { type, keyslots: [String(slot)] });
      }
      case "write-token":
        this.#old = storeToken(step.path, this.#text);
        return;
    }
  }

  /** Takes out again what this run put in, the last first. @returns the error to end with */
  async undone(error: LatchkeyError): Promise<LatchkeyError> {
    return await undoAll(this.#undos, error, (line) => this.#means.say(line));
  }

  [Symbol.dispose](): void {
    this.#scope.dispose();
  }

  async #confirmReplacing(path: string): Promise<void> {
    const { person, signal } = this.#means;
    const exists = (why: string): LatchkeyError =>
      new LatchkeyError("enroll/token-exists", `${path} is there already, ${why}`, {
        hint: "--force puts the new token in its place and keeps the old one as .old; --token names another place",
      });
    const isAgreed = await person
      .confirm([`There is a token already: ${path}`], "Keep it as .old and put a new one in its place?", signal)
      .catch((thrown: unknown) => {
        const isAlone = thrown instanceof LatchkeyError && thrown.code === "prompt/no-console";
        throw isAlone ? exists("and there is no terminal to ask on whether it may give way") : thrown;
      });
    if (!isAgreed) throw exists("and it is to stay");
  }

  async #provePassphrase(): Promise<void> {
    this.#passphrase = await provenPassphrase(this.#means, this.#scope);
    if (this.#means.target.kind === "bcachefs") this.#secret = this.#passphrase;
  }

  async #addSlot(device: Luks2Device, slot: number): Promise<void> {
    const [passphrase, key] = [this.#wanted(this.#passphrase), this.#wanted(this.#secret)];
    this.#undos.push(removalOfSlot(device, slot, key, passphrase));
    await device.addSlot(slot, passphrase, key);
  }

  async #proveSlot(device: Luks2Device, slot: number): Promise<void> {
    try {
      await device.prove(this.#wanted(this.#proven), slot, this.#means.signal);
    } catch (thrown) {
      if (!(thrown instanceof LatchkeyError) || thrown.code !== "luks/wrong-passphrase") throw thrown;
      throw new LatchkeyError("enroll/proof-failed", `${device.path}: the new key does not open key slot ${slot}`, {
        cause: thrown,
      });
    }
  }

  async #importToken(device: Luks2Device, id: number, token: JsonObject): Promise<void> {
    const isThere = async (): Promise<boolean> => {
      const found = (await device.metadata()).tokens.get(id);
      return found !== undefined && sortedJson(found) === sortedJson(token);
    };
    this.#undos.push({
      what: `take token ${id} out of ${device.path}`,
      command: `cryptsetup token remove --token-id ${id} ${device.path}`,
      run: async () => {
        if (await isThere()) await device.removeToken(id);
      },
    });
    await device.addToken(id, token);
    if (await isThere()) return;
    throw new LatchkeyError("enroll/proof-failed", `${device.path}: token ${id} is not what was written`);
  }

  #device(): Luks2Device {
    const { target } = this.#means;
    if (target.kind === "luks2") return target.device;
    throw new LatchkeyError("internal/defect", "a step for LUKS2 was planned for another kind of volume");
  }

  #wanted(secret: SecretBytes | undefined): SecretBytes {
    if (secret) return secret;
    throw new LatchkeyError("internal/defect", "a step came before the one that makes its secret");
  }
}

function randomPassphrase(): SecretBytes {
  using octets = SecretBytes.allocate(KEY_OCTETS);
  randomFillSync(octets.bytes);
  return encodeSecretBase64url(octets.bytes);
}

function interrupted(target: Target, cause?: unknown): LatchkeyError {
  return new LatchkeyError("enroll/interrupted", `${target.facts.name}: stopped before it was done`, { cause });
}
