import { randomFillSync } from "node:crypto";
import type { JsonObject } from "../../jose/json.ts";
import { sortedJson } from "../../jose/json.ts";
import { checksumOf, hasChecksum } from "../../sources/key-checksum.ts";
import { decodeKey } from "../../sources/key-format.ts";
import type { KeyReader } from "../../sources/usb/key-reader.ts";
import { asLatchkeyError, LatchkeyError } from "../../system/errors.ts";
import { SecretBytes } from "../../system/secret-bytes.ts";
import type { Person } from "../person.ts";
import { proveOn, type Target } from "../target.ts";
import { removalOfSlot, type Undo, undoAll } from "../undo.ts";
import { addStick, type KnownVolume, type StickEntry, stickLine } from "./edit-configuration.ts";
import type { FoundStick } from "./find-stick.ts";
import { lineDiff } from "./line-diff.ts";

/** The type of the token that marks a key slot as a stick's, so that it is found again when the stick is lost. */
export const STICK_TOKEN = "latchkey-usb";

/** Random octets of a new key: more than any cipher's key has. */
const KEY_OCTETS = 64;

/** The top folder of a stick, open for writing. */
export interface StickFolder extends Disposable {
  list(): readonly string[];
  has(path: string): boolean;
  create(path: string, content: SecretBytes): void;
  remove(path: string): boolean;
}

/** latchkey.toml, as it is read and written. */
export interface ConfigurationFile {
  readonly file: string;
  read(): { readonly text: string; readonly isOurs: boolean };
  /** @returns where the old one is kept */
  write(text: string): string | undefined;
}

export interface StickMeans {
  readonly target: Target;
  readonly volume: KnownVolume;
  readonly stick: FoundStick;
  /** Of the key file, on the stick. */
  readonly path: string;
  /** Opens a volume now; stays the caller's. */
  readonly passphrase: SecretBytes;
  /** Undefined: nobody is asked (`--yes`). */
  readonly person: Person | undefined;
  readonly reader: KeyReader;
  readonly configuration: ConfigurationFile;
  openFolder(stick: FoundStick): StickFolder;
  say(line: string): void;
  note(text: string): void;
  readonly signal: AbortSignal;
}

export interface EnrolledStick {
  readonly entry: StickEntry;
  readonly slot: number | undefined;
  /** The configuration names the stick now. */
  readonly isConfigured: boolean;
  readonly old: string | undefined;
}

/** The steps in the order in which they are taken: a dry run shows them, a real run says them one by one. */
export function stickSteps({ target, stick, path, configuration }: StickPlanFacts): readonly string[] {
  const isLuks = target.kind === "luks2";
  return [
    isLuks ? `make a random key of ${KEY_OCTETS} bytes` : "take the passphrase itself: a bcachefs has no other key",
    "show what is on the stick and what changes, and ask",
    `write ${path} to the stick ${stick.uuid} (${stick.device})`,
    `${stick.mountPoint === undefined ? "unmount it, and " : ""}read the key from the device again, as the boot will`,
    ...(isLuks
      ? [
          `add key slot ${target.facts.slot} to ${target.facts.device}`,
          `prove on ${target.facts.device} that what was read opens key slot ${target.facts.slot}`,
          `mark key slot ${target.facts.slot} as this stick's, by token ${target.facts.id}`,
        ]
      : [`prove what was read on ${target.facts.description}`]),
    `write the stick into ${configuration.file}`,
  ];
}

export type StickPlanFacts = Pick<StickMeans, "target" | "stick" | "path" | "configuration">;

/**
 * Makes the stick a key to the volume: proves each step before the next one builds on it. When one fails, what earlier ones put
 * anywhere is taken out again.
 * @throws LatchkeyError
 */
export async function enrolStick(means: StickMeans): Promise<EnrolledStick> {
  using run = new Run(means);
  try {
    return await run.carryOut();
  } catch (thrown) {
    const { name } = means.target.facts;
    const error = means.signal.aborted
      ? new LatchkeyError("enroll/interrupted", `${name}: stopped before it was done`, { cause: thrown })
      : asLatchkeyError(thrown);
    throw await undoAll(run.undos, error, means.say);
  }
}

class Run implements Disposable {
  readonly undos: Undo[] = [];
  readonly #means: StickMeans;
  readonly #scope = new DisposableStack();
  readonly #lines: Iterator<string>;

  constructor(means: StickMeans) {
    this.#means = means;
    this.#lines = stickSteps(means)[Symbol.iterator]();
  }

  async carryOut(): Promise<EnrolledStick> {
    const { target, stick, path, signal } = this.#means;
    this.#begin();
    const key = this.#scope.use(target.kind === "luks2" ? randomKey() : this.#passphraseAsText());
    const entry: StickEntry = {
      uuid: stick.uuid,
      path,
      sha256: checksumOf(key),
      ...(stick.isRemovable ? {} : { anyBus: true }),
    };
    this.#begin();
    const edited = await this.#agree(entry);
    this.#begin();
    this.#write(key);
    this.#begin();
    const read = this.#scope.use(await this.#readBack(entry));
    const slot = target.kind === "luks2" ? await this.#addSlot(target, key, read, entry) : undefined;
    if (target.kind === "bcachefs") {
      this.#begin();
      await proveOn(target, read, signal);
    }
    this.#begin();
    const old = edited === undefined ? undefined : this.#means.configuration.write(edited);
    return { entry, slot, isConfigured: edited !== undefined, old };
  }

  [Symbol.dispose](): void {
    this.#scope.dispose();
  }

  #begin(): void {
    if (this.#means.signal.aborted) throw new LatchkeyError("enroll/interrupted", "stopped");
    const { value } = this.#lines.next();
    if (typeof value === "string") this.#means.say(value);
  }

  /** What bcachefs takes from a file is a line of text: any other passphrase would come back as another one. */
  #passphraseAsText(): SecretBytes {
    const key = this.#means.passphrase.clone();
    try {
      const { length } = key;
      if (decodeKey(key, "text", "the passphrase").length === length) return key;
      throw new LatchkeyError(
        "key-file/bad-format",
        "the passphrase ends with a newline, which a key file cannot tell",
      );
    } catch (thrown) {
      key[Symbol.dispose]();
      throw thrown;
    }
  }

  /** @returns the configuration's new text; undefined where a person has to edit it */
  async #agree(entry: StickEntry): Promise<string | undefined> {
    const { target, stick, path, person, configuration, volume, signal } = this.#means;
    const { text, isOurs } = configuration.read();
    const edited = isOurs ? addStick(text, volume, entry) : undefined;
    const lines = [...this.#describeStick(), ""];
    if (edited === undefined) {
      this.#means.note(
        `latchkey cannot edit ${configuration.file}; write there, under [volumes.${volume.name}]: sources = [… "usb" …] and usb = ${stickLine(entry)}`,
      );
    } else {
      lines.push(`${configuration.file}:`, ...lineDiff(text, edited));
    }
    if (target.kind === "bcachefs") {
      this.#means.note(
        `whoever has this stick has the passphrase of ${target.facts.name}, in clear; a bcachefs has only one`,
      );
    }
    if (!person) {
      for (const line of lines) this.#means.say(`  ${line}`.trimEnd());
      return edited;
    }
    const andLines = edited === undefined ? "" : `, and these lines to ${configuration.file}`;
    if (await person.confirm(lines, `Write ${path} to ${stick.device}${andLines}?`, signal)) return edited;
    throw new LatchkeyError("enroll/not-confirmed", `${target.facts.name}: nothing was written`);
  }

  #describeStick(): readonly string[] {
    const { stick, path, openFolder } = this.#means;
    using folder = openFolder(stick);
    if (folder.has(path)) {
      throw new LatchkeyError("enroll/key-exists", `${path} is on the stick ${stick.uuid} already, and it is to stay`, {
        hint: "name another file with --path",
      });
    }
    const names = folder.list();
    const shown = names.slice(0, 8).join(", ");
    const more = names.length > 8 ? ` and ${names.length - 8} more` : "";
    return [
      `the stick:   ${stick.device} (${stick.description})`,
      `filesystem:  ${stick.type} ${stick.uuid}${stick.mountPoint === undefined ? "" : `, mounted on ${stick.mountPoint}`}`,
      `on it:       ${names.length === 0 ? "nothing" : `${shown}${more}`}`,
    ];
  }

  #write(key: SecretBytes): void {
    const { stick, path, openFolder } = this.#means;
    using folder = openFolder(stick);
    this.undos.push({
      what: `take ${path} off the stick ${stick.uuid}`,
      command: `rm ${path} on the stick`,
      run: () =>
        Promise.try(() => {
          using again = openFolder(stick);
          again.remove(path);
        }),
    });
    folder.create(path, key);
  }

  /** As the boot will: mounted anew and read from the device, not from what the kernel remembers of writing it. */
  async #readBack({ sha256 }: StickEntry): Promise<SecretBytes> {
    const { reader, stick, path, signal } = this.#means;
    const read = await reader.read({ on: stick.device, type: stick.type, path }, signal);
    if (hasChecksum(read, sha256)) return read;
    read[Symbol.dispose]();
    throw new LatchkeyError(
      "enroll/proof-failed",
      `the stick ${stick.uuid} gave back something else than was written`,
      {
        hint: "it may be broken: use another one",
      },
    );
  }

  async #addSlot(
    target: Extract<Target, { kind: "luks2" }>,
    key: SecretBytes,
    read: SecretBytes,
    { uuid, path, sha256 }: StickEntry,
  ): Promise<number> {
    const { device, facts } = target;
    const { slot, id } = facts;
    this.#begin();
    this.undos.push(removalOfSlot(device, slot, key, this.#means.passphrase));
    await device.addSlot(slot, this.#means.passphrase, key);
    this.#begin();
    await device.prove(read, slot, this.#means.signal);
    this.#begin();
    const token: JsonObject = { type: STICK_TOKEN, keyslots: [String(slot)], uuid, path, sha256 };
    this.undos.push({
      what: `take token ${id} out of ${device.path}`,
      command: `cryptsetup token remove --token-id ${id} ${device.path}`,
      run: async () => {
        const found = (await device.metadata()).tokens.get(id);
        if (found && sortedJson(found) === sortedJson(token)) await device.removeToken(id);
      },
    });
    await device.addToken(id, token);
    return slot;
  }
}

function randomKey(): SecretBytes {
  const key = SecretBytes.allocate(KEY_OCTETS);
  randomFillSync(key.bytes);
  return key;
}
