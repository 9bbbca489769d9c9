import type { UsbPlan } from "../../../../src/config/plan.ts";
import type { OfferResult, Progress, SourceContext, VolumeProgress } from "../../../../src/sources/source.ts";
import type { KeyPlace, KeyReader } from "../../../../src/sources/usb/key-reader.ts";
import type { DeviceIdentity } from "../../../../src/sources/usb/reader-protocol.ts";
import type { Stick, Sticks } from "../../../../src/sources/usb/sticks.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";

export const KEY = "a key of some length";
export const sha256Of = (text: string): string => Bun.SHA256.hash(text, "hex");

export function stickPlan(overrides: Partial<UsbPlan> = {}): UsbPlan {
  return {
    kind: "usb",
    place: { by: "filesystem", uuid: "4F2A-99C1", path: "root.key" },
    sha256: sha256Of(KEY),
    anyBus: false,
    timeout: 10_000,
    ...overrides,
  };
}

/** The heart as a source sees it: volumes that open with one key. */
export class FakeHeart implements SourceContext {
  readonly #abort = new AbortController();
  readonly offered: { readonly text: string; readonly volumes: readonly string[] }[] = [];
  readonly secrets: SecretBytes[] = [];
  readonly notYet: LatchkeyError[] = [];
  readonly notes: string[] = [];
  readonly standings: VolumeProgress[] = [];
  readonly questionTime = Promise.resolve();
  readonly #listeners: (() => void)[] = [];

  get signal(): AbortSignal {
    return this.#abort.signal;
  }
  abort(): void {
    this.#abort.abort();
  }
  async wanted() {
    return [];
  }
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }
  async offer(secret: SecretBytes, volumes: readonly string[] = []): Promise<OfferResult> {
    this.secrets.push(secret);
    this.offered.push({ text: new TextDecoder().decode(secret.bytes), volumes });
    secret[Symbol.dispose]();
    return { opened: volumes, errors: new Map() };
  }
  progress(): Progress {
    return { volumes: this.standings, failures: [] };
  }
  set(standing: VolumeProgress): void {
    const index = this.standings.findIndex(({ name }) => name === standing.name);
    this.standings.splice(index < 0 ? this.standings.length : index, 1, standing);
    for (const listener of this.#listeners) listener();
  }
  nothingYet(reason: LatchkeyError): void {
    this.notYet.push(reason);
  }
  atWork<T>(work: Promise<T>): Promise<T> {
    return work;
  }
  note(text: string): void {
    this.notes.push(text);
  }

  get reasons(): readonly string[] {
    return this.notYet.map(({ code, message }) => `${code}: ${message}`);
  }
}

/** What is on a stick: which filesystem, and its files. */
export interface FakeContent {
  readonly uuid?: string;
  readonly type?: "vfat" | "ext4";
  readonly partition?: string;
  readonly also?: DeviceIdentity["filesystems"];
  readonly files?: Readonly<Record<string, string | LatchkeyError | "hangs">>;
  /** What identifying it comes to instead. */
  readonly unreadable?: LatchkeyError;
}

/** A machine with USB ports: sticks go in and out, and are read from. */
export class FakePorts implements Sticks, KeyReader {
  readonly #in = new Map<string, { readonly stick: Stick; readonly content: FakeContent }>();
  #count = 0;
  #hasNews = false;
  #wake: () => void = () => undefined;
  /** What was done, in order. */
  readonly log: string[] = [];
  links: Record<string, string> = {};

  plug(path: string, content: FakeContent, isRemovable = true): void {
    this.#count += 1;
    this.#in.set(path, { stick: { path, occurrence: `${path} ${this.#count}`, isRemovable }, content });
    this.#notice();
  }

  pull(path: string): void {
    this.#in.delete(path);
    this.#notice();
  }

  #notice(): void {
    this.#hasNews = true;
    this.#wake();
  }

  async list(): Promise<readonly Stick[]> {
    return [...this.#in.values()].map(({ stick }) => stick);
  }

  async *changes(signal: AbortSignal): AsyncGenerator<void> {
    while (!signal.aborted) {
      await new Promise<void>((resolve) => {
        if (this.#hasNews) return resolve();
        this.#wake = resolve;
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
      this.#hasNews = false;
      if (!signal.aborted) yield;
    }
  }

  async deviceWith(uuid: string): Promise<Stick | undefined> {
    return this.#in.get(this.links[uuid] ?? "")?.stick;
  }

  prepare(): void {}

  async identify(device: string): Promise<DeviceIdentity> {
    this.log.push(`identify ${device}`);
    const content = this.#in.get(device)?.content;
    if (!content) throw new LatchkeyError("device/missing", `${device} does not exist`);
    if (content.unreadable) throw content.unreadable;
    const own = content.uuid === undefined ? [] : [{ type: content.type ?? ("vfat" as const), uuid: content.uuid }];
    return { filesystems: [...own, ...(content.also ?? [])], partition: content.partition };
  }

  async read(place: KeyPlace, signal: AbortSignal): Promise<SecretBytes> {
    const what = "path" in place ? `${place.type}:${place.path}` : `${place.offset}+${place.size}`;
    this.log.push(`read ${place.on} ${what}`);
    const file = this.#in.get(place.on)?.content.files?.["path" in place ? place.path : "raw"];
    if (file === undefined) throw new LatchkeyError("key-file/missing", `there is no ${what} on ${place.on}`);
    if (file instanceof LatchkeyError) throw file;
    if (file === "hangs") {
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      throw new LatchkeyError("key-file/no-answer", `${place.on} is not waited for any longer`);
    }
    return SecretBytes.take(new TextEncoder().encode(file));
  }
}
