import type { LuksSettings as LuksWishes, VolumePlan } from "../../../../src/config/plan.ts";
import type { CryptsetupCall, CryptsetupEnd, RunCryptsetup } from "../../../../src/providers/luks/cryptsetup.ts";
import type { VolumeKeyKeyring } from "../../../../src/providers/luks/kernel-volume-key.ts";
import { LuksTool } from "../../../../src/providers/luks/luks-tool.ts";
import type { Mapping } from "../../../../src/providers/luks/mappings.ts";
import type { MappingOpener, MappingRequest, ProvenKey } from "../../../../src/providers/luks/opener.ts";
import { LuksProvider } from "../../../../src/providers/luks/provider.ts";
import type { BlockDevices } from "../../../../src/system/block-devices.ts";
import type { Clock } from "../../../../src/system/clock.ts";
import { Credential } from "../../../../src/system/credential.ts";
import { LatchkeyError } from "../../../../src/system/errors.ts";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { HandClock } from "../../unlock/fakes.ts";
import { FakeDevices, volumeOf } from "../bcachefs/fake-machine.ts";

export const credentialOf = (text: string): Credential =>
  new Credential(SecretBytes.take(new TextEncoder().encode(text)));

/** A LUKS volume of that name and device, as crypttab would say it. */
export function luksVolumeOf(
  name: string,
  device: string,
  luks: Partial<VolumePlan["luks"]> & LuksWishes = {},
): VolumePlan {
  return {
    ...volumeOf(device),
    name,
    kind: "luks",
    luks: { allowDiscards: false, readOnly: false, openOptions: [], opener: "latchkey", ...luks },
  };
}

/** Stands in for cryptsetup: knows one passphrase, and remembers what it was told. */
export class StubCryptsetup {
  readonly calls: string[] = [];
  /** What it answers instead, by the start of the call. */
  readonly answers = new Map<string, Partial<CryptsetupEnd>>();
  readonly passphrase: string;
  readonly #help: string;

  /** @param linksKeys as 2.7 and later do */
  constructor(passphrase = "right", { linksKeys = false } = {}) {
    this.passphrase = passphrase;
    this.#help = linksKeys ? "--link-vk-to-keyring  --volume-key-keyring" : "";
  }

  readonly run: RunCryptsetup = ({ args, secrets = [], signal }: CryptsetupCall) => {
    const text = args.join(" ");
    if (text === "--help") return Promise.resolve(this.#end({ output: this.#help }));
    const key = secrets.map(({ bytes }) => new TextDecoder().decode(bytes)).join("|");
    this.calls.push(`${text}${key === "" ? "" : ` < ${key}`}`);
    if (signal?.aborted) return Promise.reject(new LatchkeyError("enroll/interrupted", "it was stopped"));
    const known = [...this.answers].find(([start]) => text.startsWith(start))?.[1];
    if (known) return Promise.resolve(this.#end(known));
    const takesKey = text.includes("--key-file");
    return Promise.resolve(
      this.#end(takesKey && key !== this.passphrase ? { status: 2, complaint: "No key available" } : {}),
    );
  };

  #end(change: Partial<CryptsetupEnd>): CryptsetupEnd {
    return { status: 0, output: "", complaint: "", ...change };
  }
}

/** Remembers what it was to open. */
export class RecordingOpener implements MappingOpener {
  readonly opened: { readonly request: MappingRequest; readonly passphrase: string; readonly volumeKey?: string }[] =
    [];
  closed = 0;

  open(request: MappingRequest, { passphrase, volumeKey }: ProvenKey) {
    const text = new TextDecoder().decode(passphrase.bytes);
    this.opened.push({ request, passphrase: text, ...(volumeKey === undefined ? {} : { volumeKey }) });
    return Promise.resolve({
      close: () => {
        this.closed += 1;
        return Promise.resolve();
      },
    });
  }
}

/** A keyring in which a key is as soon as somebody was told to link it: `link` says whether it was. */
export class StubKeyring implements VolumeKeyKeyring {
  readonly calls: string[] = [];
  hasSession = true;
  holdsKey = true;
  isMissing = false;

  keyringId(keyring: "session" | "user_session" | "user" | "thread" | "process"): number {
    if (this.isMissing) throw new LatchkeyError("keyring/refused", "looking for a keyring: ENOSYS");
    return keyring === "session" && this.hasSession ? 7 : 5;
  }

  search(keyring: number | string, type: string, description: string): number | undefined {
    this.calls.push(`search ${keyring} ${type} ${description}`);
    return this.holdsKey ? 99 : undefined;
  }

  setTimeout(key: number | string, seconds: number): void {
    this.calls.push(`timeout ${key} ${seconds}`);
  }

  invalidate(key: number | string): void {
    this.calls.push(`invalidate ${key}`);
    this.holdsKey = false;
  }
}

export interface LuksScene {
  readonly provider: LuksProvider;
  readonly devices: FakeDevices;
  readonly opener: RecordingOpener;
  readonly lane: RecordingOpener;
  readonly keyring: StubKeyring;
  readonly clock: HandClock;
  readonly mappings: Mapping[];
}

/** A machine with devices in memory, a stub in the place of cryptsetup, and 1 GiB of memory. */
export function luksScene(
  run: RunCryptsetup,
  {
    devices,
    memory = 1024 ** 3,
    ticking,
  }: { readonly devices?: BlockDevices; readonly memory?: number; readonly ticking?: Clock } = {},
): LuksScene {
  const fake = new FakeDevices();
  const [opener, lane, keyring, clock] = [
    new RecordingOpener(),
    new RecordingOpener(),
    new StubKeyring(),
    new HandClock(),
  ];
  const mappings: Mapping[] = [];
  const provider = new LuksProvider({
    devices: devices ?? fake,
    tool: new LuksTool(run),
    openers: { latchkey: opener, systemd: lane },
    mappings: { list: () => Promise.resolve(mappings) },
    keyring,
    clock: ticking ?? clock,
    memory: () => Promise.resolve(memory),
  });
  return { provider, devices: fake, opener, lane, keyring, clock, mappings };
}
