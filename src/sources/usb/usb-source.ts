import type { KeyFormat, UsbPlan } from "../../config/plan.ts";
import type { Clock } from "../../system/clock.ts";
import { asLatchkeyError, LatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import { hasChecksum } from "../key-checksum.ts";
import { decodeKey } from "../key-format.ts";
import type { Source, SourceContext } from "../source.ts";
import { sameUuid } from "./filesystem-identity.ts";
import type { KeyPlace, KeyReader } from "./key-reader.ts";
import type { DeviceIdentity } from "./reader-protocol.ts";
import { onlyFilesystem, type SeenStick, type StickWatch } from "./stick-watch.ts";
import type { Stick, Sticks } from "./sticks.ts";

export interface UsbSourceSettings {
  readonly stick: UsbPlan;
  readonly format: KeyFormat;
  /** What the key opens. */
  readonly volumes: readonly string[];
  /** Shared by all sources of a run: each stick is looked at once. */
  readonly watch: StickWatch;
  readonly sticks: Sticks;
  readonly reader: KeyReader;
  readonly clock: Clock;
}

/** What the stick is called in messages: by what it is known by. */
export function stickName({ place }: UsbPlan): string {
  return `usb stick ${place.by === "filesystem" ? place.uuid : place.partuuid}`;
}

/** Is what lies on a device the stick of the configuration? */
export function isMeant({ place }: UsbPlan, identity: DeviceIdentity): boolean {
  if (place.by === "partition") {
    return identity.partition !== undefined && sameUuid(identity.partition, place.partuuid);
  }
  return identity.filesystems.some(({ uuid }) => sameUuid(uuid, place.uuid));
}

/**
 * A key on a stick that is told by the UUID of its filesystem or partition, and that must have the checksum that the configuration has.
 * A stick that is not there in time counts as absent, and is waited for all the same; so is another one after one that was wrong.
 */
export class UsbSource implements Source {
  readonly kind = "usb";
  readonly name: string;
  readonly isQuestion = false;
  readonly listens = true;
  readonly volumes: readonly string[];
  readonly #settings: UsbSourceSettings;

  constructor(settings: UsbSourceSettings) {
    this.name = stickName(settings.stick);
    this.volumes = settings.volumes;
    this.#settings = settings;
  }

  async run(context: SourceContext): Promise<void> {
    await new Run(this.name, this.#settings, context).finish();
  }
}

class Run {
  readonly #name: string;
  readonly #settings: UsbSourceSettings;
  readonly #context: SourceContext;
  readonly #over = new AbortController();
  readonly #signal: AbortSignal;
  /** Sticks that are read from, each with what ends that when it is pulled. */
  readonly #reading = new Map<string, AbortController>();
  readonly #offered = Promise.withResolvers<void>();
  #hasBeenSeen = false;

  constructor(name: string, settings: UsbSourceSettings, context: SourceContext) {
    this.#name = name;
    this.#settings = settings;
    this.#context = context;
    this.#signal = AbortSignal.any([context.signal, this.#over.signal]);
  }

  /** Ends when a key was offered: another stick of this name could only have the same one. */
  async finish(): Promise<void> {
    const { watch, reader, stick, clock } = this.#settings;
    this.#context.signal.addEventListener("abort", () => this.#offered.resolve(), { once: true });
    if (this.#context.signal.aborted) return;
    reader.prepare();
    watch.listen(
      {
        anyBus: stick.anyBus,
        onStick: (seen) => {
          if (isMeant(stick, seen.identity)) void this.#context.atWork(this.#try(seen));
        },
        onUnreadable: ({ path }, { message }) => this.#context.note(`${path} is no stick that can be read: ${message}`),
        onGone: ({ occurrence }) => this.#reading.get(occurrence)?.abort(),
      },
      this.#signal,
    );
    void clock.sleep(stick.timeout, this.#signal).then(() => this.#tellAbsence());
    try {
      await this.#offered.promise;
    } finally {
      this.#over.abort();
    }
  }

  async #try(seen: SeenStick): Promise<void> {
    this.#hasBeenSeen = true;
    this.#context.note(`found on ${seen.stick.path}`);
    try {
      const key = await this.#readKey(seen);
      await this.#context.offer(key, this.#settings.volumes);
      this.#offered.resolve();
    } catch (thrown) {
      if (this.#signal.aborted) return;
      this.#context.nothingYet(about(`${this.#volumes}: ${this.#name}`, asLatchkeyError(thrown)));
    }
  }

  async #readKey(seen: SeenStick): Promise<SecretBytes> {
    const { reader, stick: plan, format } = this.#settings;
    const { stick } = seen;
    const pulled = new AbortController();
    this.#reading.set(stick.occurrence, pulled);
    let content: SecretBytes;
    try {
      content = await readStickKey(seen, plan, reader, AbortSignal.any([this.#signal, pulled.signal]));
    } catch (thrown) {
      throw pulled.signal.aborted || (await this.#isGone(stick)) ? pulledOut(stick, thrown) : thrown;
    } finally {
      this.#reading.delete(stick.occurrence);
    }
    try {
      return decodeKey(content, format, nameOfKey(seen, plan));
    } catch (thrown) {
      content[Symbol.dispose]();
      throw thrown;
    }
  }

  /** The kernel may tell of an error before it takes the stick off its list. */
  async #isGone({ occurrence }: Stick): Promise<boolean> {
    const now = await this.#settings.sticks.list().catch(() => []);
    return !now.some((other) => other.occurrence === occurrence);
  }

  async #tellAbsence(): Promise<void> {
    if (this.#signal.aborted || this.#hasBeenSeen) return;
    const { stick } = this.#settings;
    const who = `${this.#volumes}: ${this.#name}`;
    const elsewhere = stick.place.by === "filesystem" ? await this.#deviceWith(stick.place.uuid) : undefined;
    if (this.#signal.aborted || this.#hasBeenSeen) return;
    if (elsewhere && !elsewhere.isRemovable && !stick.anyBus) {
      const what = `${elsewhere.path} has its UUID, but is neither removable nor on a USB bus`;
      const hint = "if it is meant to be used (a card reader, say), set any_bus = true";
      return this.#context.nothingYet(new LatchkeyError("usb/wrong-bus", `${who}: ${what}`, { hint }));
    }
    const limit = `${stick.timeout / 1000} s`;
    const what = elsewhere ? `on ${elsewhere.path}, which has not answered after ${limit}` : `not there after ${limit}`;
    const hint = "plug it in: until the volume is open it is taken at any time";
    this.#context.nothingYet(new LatchkeyError("usb/absent", `${who}: ${what}`, { hint }));
  }

  /** What only helps to explain must not end the run. */
  async #deviceWith(uuid: string) {
    return await this.#settings.sticks.deviceWith(uuid).catch(() => undefined);
  }

  get #volumes(): string {
    return this.#settings.volumes.join(", ");
  }
}

/**
 * The key on a stick, proven to be the configured one; as it lies there. The caller takes over its scope.
 * @throws LatchkeyError usb/checksum-mismatch, usb/ambiguous, key-file/…
 */
export async function readStickKey(
  seen: SeenStick,
  plan: UsbPlan,
  reader: Pick<KeyReader, "read">,
  signal: AbortSignal,
): Promise<SecretBytes> {
  const content = await reader.read(placeOn(seen, plan), signal);
  if (hasChecksum(content, plan.sha256)) return content;
  content[Symbol.dispose]();
  throw wrongChecksum(nameOfKey(seen, plan));
}

function nameOfKey({ stick }: SeenStick, { place }: UsbPlan): string {
  return place.by === "filesystem" ? `${place.path} on ${stick.path}` : stick.path;
}

function placeOn(seen: SeenStick, { place }: UsbPlan): KeyPlace {
  const on = seen.stick.path;
  if (place.by === "partition") return { on, offset: place.offset, size: place.size };
  return { on, type: onlyFilesystem(seen).type, path: place.path };
}

function wrongChecksum(what: string): LatchkeyError {
  return new LatchkeyError(
    "usb/checksum-mismatch",
    `${what} is not the key file of the configuration: its SHA-256 differs`,
    { hint: "was it written anew? then its sha256 in latchkey.toml has to follow, and the initrd has to be rebuilt" },
  );
}

function pulledOut({ path }: Stick, cause: unknown): LatchkeyError {
  return new LatchkeyError("usb/pulled", `${path} was pulled out while it was being read; put it in again`, { cause });
}

function about(who: string, error: LatchkeyError): LatchkeyError {
  const { code, message, hint } = error;
  return new LatchkeyError(code, `${who}: ${message}`, hint === undefined ? { cause: error } : { cause: error, hint });
}
