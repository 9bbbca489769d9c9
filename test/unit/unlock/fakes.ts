import type { Plan, VolumePlan } from "../../../src/config/plan.ts";
import type { FindContext, FoundVolume, Provider, VolumeState } from "../../../src/providers/provider.ts";
import type { Source, SourceContext } from "../../../src/sources/source.ts";
import type { Clock } from "../../../src/system/clock.ts";
import { LatchkeyError } from "../../../src/system/errors.ts";
import { SecretBytes } from "../../../src/system/secret-bytes.ts";
import { ProofRoom, type Room } from "../../../src/unlock/proof-room.ts";
import type { Report } from "../../../src/unlock/report.ts";
import { type UnlockParts, unlockVolumes } from "../../../src/unlock/unlock.ts";

/** A clock that stands still until it is turned. */
export class HandClock implements Clock {
  #now = 0;
  #sleepers: { at: number; wake: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const sleeper = { at: this.#now + milliseconds, wake: resolve };
      this.#sleepers.push(sleeper);
      signal.addEventListener("abort", () => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        resolve();
      });
    });
  }

  async advance(milliseconds: number): Promise<void> {
    const target = this.#now + milliseconds;
    for (;;) {
      await settle();
      const next = this.#sleepers.filter((sleeper) => sleeper.at <= target).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#now = next.at;
      this.#sleepers = this.#sleepers.filter((sleeper) => sleeper !== next);
      next.wake();
    }
    this.#now = target;
    await settle();
  }
}

/** Lets everything that can run without time passing run. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 20; round += 1) await new Promise((resolve) => setImmediate(resolve));
}

export function volumePlan(name: string, overrides: Partial<VolumePlan> = {}): VolumePlan {
  return {
    name,
    kind: "bcachefs",
    devices: [{ by: "path", path: `/dev/${name}` }],
    sources: [{ kind: "prompt" }],
    isRoot: false,
    certainty: "stated",
    requireEncrypted: true,
    origin: { file: "test" },
    ...overrides,
  };
}

export function planOf(volumes: readonly VolumePlan[], overrides: Partial<Plan> = {}): Plan {
  return {
    enabled: true,
    debug: false,
    promptAfter: 2000,
    deviceTimeout: 90_000,
    memberTimeout: 30_000,
    policy: { requireEncrypted: true, allowDegraded: false },
    volumes,
    pools: [],
    warnings: [],
    leftToSystem: [],
    ...overrides,
  };
}

interface FakeVolume {
  readonly passphrase?: string;
  readonly uuid?: string;
  readonly state?: VolumeState;
  /** What the search says, when it comes to that. */
  readonly notes?: readonly Promise<string>[];
  /** Resolves when the device appears. */
  readonly appears?: Promise<void>;
  readonly findError?: LatchkeyError;
  readonly openError?: LatchkeyError;
  readonly closeError?: LatchkeyError;
  readonly devices?: readonly string[];
  readonly proofMemory?: number;
  /** Resolves when its key is derived. */
  readonly derives?: Promise<void>;
  /** Resolves when it has opened. */
  readonly opens?: Promise<void>;
  /** Others may open it, too. */
  readonly isOpenNow?: () => boolean;
}

/** Volumes in memory. `log` has every step with effect, in order. */
export class FakeProvider implements Provider {
  readonly kind = "bcachefs";
  readonly log: string[] = [];
  readonly #volumes: Readonly<Record<string, FakeVolume>>;

  constructor(volumes: Readonly<Record<string, FakeVolume>>) {
    this.#volumes = volumes;
  }

  async find({ name }: VolumePlan, { note }: FindContext): Promise<FoundVolume> {
    const volume = this.#volumes[name];
    for (const text of volume?.notes ?? []) void text.then(note);
    if (!volume) throw new LatchkeyError("unlock/no-provider", `${name}: no such fake`);
    await volume.appears;
    if (volume.findError) throw volume.findError;
    return {
      name,
      state: volume.state ?? "closed",
      description: `fake "${name}"`,
      uuid: volume.uuid ?? name,
      devices: volume.devices ?? [`/dev/${name}`],
      ...(volume.proofMemory === undefined ? {} : { proofMemory: volume.proofMemory }),
      ...(volume.isOpenNow ? { isOpenNow: async () => volume.isOpenNow?.() ?? false } : {}),
      prove: async (credential) => {
        this.log.push(`prove ${name}`);
        await volume.derives;
        if (new TextDecoder().decode(credential.secret.bytes) !== volume.passphrase) {
          throw new LatchkeyError("bcachefs/wrong-passphrase", `${name}: wrong passphrase`);
        }
        return {
          open: async () => {
            if (volume.openError) throw volume.openError;
            this.log.push(`open ${name}`);
            await volume.opens;
            return {
              close: async () => {
                this.log.push(`close ${name}`);
                if (volume.closeError) throw volume.closeError;
              },
            };
          },
          [Symbol.dispose]: () => void this.log.push(`wipe ${name}`),
        };
      },
    };
  }
}

/** A source whose behaviour is a function. */
export function fakeSource(
  name: string,
  volumes: readonly string[],
  run: (context: SourceContext) => Promise<void>,
  overrides: Partial<Source> = {},
): Source {
  return { kind: "prompt", name, volumes, isQuestion: false, run, ...overrides };
}

export function secretOf(text: string): SecretBytes {
  return SecretBytes.take(new TextEncoder().encode(text));
}

export interface Started {
  readonly clock: HandClock;
  readonly lines: string[];
  readonly stop: AbortController;
  readonly report: Promise<Report>;
  isOver(): boolean;
}

/** More than any fake proof wants. */
export const plenty: Room = { memory: 2 ** 40, cores: 64 };

/** A run over fakes, with what it announced. */
export function start(
  plan: Plan,
  provider: FakeProvider,
  sources: readonly Source[],
  more: Partial<UnlockParts> = {},
): Started {
  const clock = new HandClock();
  const lines: string[] = [];
  const stop = new AbortController();
  let over = false;
  const report = unlockVolumes(
    {
      plan,
      providers: new Map([["bcachefs", provider]]),
      sources,
      clock,
      version: "0",
      build: "test",
      announce: (line) => lines.push(line),
      room: new ProofRoom(() => plenty),
      ...more,
    },
    stop.signal,
  ).finally(() => {
    over = true;
  });
  return { clock, lines, stop, report, isOver: () => over };
}

export const forever = (context: SourceContext): Promise<void> =>
  new Promise<void>((resolve) => context.signal.addEventListener("abort", () => resolve()));

export const offering =
  (text: string) =>
  async (context: SourceContext): Promise<void> => {
    await context.offer(secretOf(text));
  };
