import type { VolumePlan } from "../../../../src/config/plan.ts";
import type { KeyId, KeyringName } from "../../../../src/keyutils-ffi/keyring.ts";
import type { VolumeKeyring } from "../../../../src/providers/bcachefs/keys.ts";
import type { FindContext } from "../../../../src/providers/provider.ts";
import type { BlockDevice, BlockDevices, OpenBlockReader } from "../../../../src/system/block-devices.ts";
import { referenceText } from "../../../../src/system/block-devices.ts";
import type { DeviceReference } from "../../../../src/system/device-names.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import type { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { MemoryReader, secretOf } from "./fixtures.ts";

/** What SystemBlockDevices says of a node that has nothing behind it yet. */
export const withoutSize = (path: string): LatchkeyError =>
  new LatchkeyError("device/missing", `${path} has no size yet`);

/** Block devices in memory, which come and go as a test says. */
export class FakeDevices implements BlockDevices {
  /** Path -> content; a promise that never settles is a dying disk. */
  readonly nodes = new Map<string, Uint8Array | LatchkeyError | "dying">();
  /** `UUID=…` -> path. */
  readonly links = new Map<string, string>();
  readonly readers: MemoryReader[] = [];
  readonly opened: string[] = [];
  scans = 0;
  #wakers = new Set<() => void>();

  add(path: string, content: Uint8Array | LatchkeyError | "dying", ...links: readonly string[]): void {
    this.nodes.set(path, content);
    for (const link of links) this.links.set(link, path);
    for (const wake of this.#wakers) wake();
  }

  resolve(reference: DeviceReference): Promise<string | undefined> {
    const path = reference.by === "path" ? reference.path : this.links.get(referenceText(reference));
    return Promise.resolve(path !== undefined && this.nodes.has(path) ? path : undefined);
  }

  list(): Promise<readonly BlockDevice[]> {
    this.scans += 1;
    return Promise.resolve([...this.nodes.keys()].map((path) => ({ path, isHeld: false })));
  }

  async open(path: string): Promise<OpenBlockReader> {
    this.opened.push(path);
    const content = this.nodes.get(path);
    if (content === "dying") return await new Promise<never>(() => undefined);
    if (content instanceof LatchkeyError) throw content;
    if (!content) throw new LatchkeyError("device/missing", `${path} does not exist`);
    const reader = new MemoryReader(content, path);
    this.readers.push(reader);
    return reader;
  }

  async *changes(signal: AbortSignal): AsyncGenerator<void> {
    while (!signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wakers.add(resolve);
      signal.addEventListener("abort", () => resolve());
      await promise;
      this.#wakers.delete(resolve);
      if (!signal.aborted) yield;
    }
  }
}

export interface FoundContext extends FindContext {
  readonly notes: readonly string[];
}

export function contextOf(change: Partial<FindContext> = {}): FoundContext {
  const notes: string[] = [];
  return {
    signal: new AbortController().signal,
    deviceTimeout: 80,
    memberTimeout: 80,
    allowDegraded: false,
    note: (text) => notes.push(text),
    notes,
    ...change,
  };
}

/** `UUID=…` or a path, as a volume named root. */
export function volumeOf(...devices: readonly string[]): VolumePlan {
  return {
    name: "root",
    kind: "bcachefs",
    certainty: "stated",
    devices: devices.map((text): DeviceReference => {
      const [, tag, value] = /^(UUID|LABEL|PARTUUID|PARTLABEL|ID)=(.*)$/.exec(text) ?? [];
      return tag && value !== undefined ? { by: "tag", tag: tag as "UUID", value } : { by: "path", path: text };
    }),
    sources: [],
    isRoot: true,
    requireEncrypted: true,
    origin: { file: "test" },
  };
}

/**
 * Keyrings as the kernel has them in what matters here: the session keyring is searched, the user keyring only when it
 * is linked there or when the process has no session keyring (facts/bcachefs.md, section 8).
 */
export class FakeKeyring implements VolumeKeyring {
  readonly keys = new Map<number, { keyring: KeyringName; description: string; payload: string }>();
  readonly linked = new Set<KeyringName>();
  readonly calls: string[] = [];
  hasSession = true;
  mayLink = true;
  #lastSerial = 100;

  addKey(type: "user", description: string, payload: SecretBytes, keyring: KeyId): number {
    this.calls.push(`add ${type} ${description} to ${keyring}`);
    const name = keyring as KeyringName;
    const known = [...this.keys].find(([, key]) => key.keyring === name && key.description === description)?.[0];
    const serial = known ?? ++this.#lastSerial;
    this.keys.set(serial, { keyring: name, description, payload: payload.bytes.toHex() });
    return serial;
  }

  requestKey(_type: "user", description: string): number | undefined {
    const visible: readonly KeyringName[] = this.hasSession ? ["session", ...this.linked] : ["user", "user_session"];
    return this.#find(visible, description);
  }

  search(keyring: KeyId, _type: "user", description: string): number | undefined {
    return this.#find([keyring as KeyringName], description);
  }

  link(key: KeyId, keyring: KeyId): void {
    this.calls.push(`link ${key} to ${keyring}`);
    if (!this.mayLink) throw new LatchkeyError("keyring/refused", "linking: EACCES");
    this.hasSession = true;
    this.linked.add(key as KeyringName);
  }

  unlink(key: KeyId, keyring: KeyId): void {
    this.calls.push(`unlink from ${keyring}`);
    if (!this.keys.delete(key as number)) throw new LatchkeyError("keyring/refused", "unlinking: ENOENT");
  }

  invalidate(key: KeyId): void {
    this.calls.push("invalidate");
    this.keys.delete(key as number);
  }

  read(key: KeyId): SecretBytes {
    const found = this.keys.get(key as number);
    if (!found || (this.hasSession && found.keyring !== "session" && !this.linked.has(found.keyring))) {
      throw new LatchkeyError("keyring/refused", "reading: EACCES");
    }
    return secretOf(Uint8Array.fromHex(found.payload));
  }

  #find(keyrings: readonly KeyringName[], description: string): number | undefined {
    for (const name of keyrings) {
      for (const [serial, key] of this.keys) if (key.keyring === name && key.description === description) return serial;
    }
    return undefined;
  }
}
