import { readFile } from "node:fs/promises";
import type { LuksPlan, VolumePlan } from "../../config/plan.ts";
import { beforeAbort } from "../../system/before-abort.ts";
import type { BlockDevices } from "../../system/block-devices.ts";
import type { Clock } from "../../system/clock.ts";
import { LatchkeyError } from "../../system/errors.ts";
import type { FindContext, FoundVolume, Provider, TokenText } from "../provider.ts";
import { type LuksFound, LuksSearch } from "./find.ts";
import type { LuksHeader } from "./header.ts";
import type { VolumeKeyKeyring } from "./kernel-volume-key.ts";
import type { LuksTool } from "./luks-tool.ts";
import { isMappingOf, type Mapping } from "./mappings.ts";
import type { MappingOpener } from "./opener.ts";
import { chooseSlots, dearestSlot } from "./slots.ts";
import { LuksVolume, NoLuks } from "./volume.ts";

export interface LuksSettings {
  readonly devices: BlockDevices;
  readonly tool: LuksTool;
  readonly openers: Readonly<Record<LuksPlan["opener"], MappingOpener>>;
  readonly mappings: { list(): Promise<readonly Mapping[]> };
  readonly keyring: VolumeKeyKeyring;
  readonly clock: Clock;
  /** Octets of memory that the machine has; its own unless a test says otherwise. */
  readonly memory?: () => Promise<number>;
}

interface HeaderTokens {
  readonly device: string;
  readonly header: LuksHeader | undefined;
}

/** Opens LUKS volumes with cryptsetup, to which their headers belong; here they are only read. */
export class LuksProvider implements Provider {
  readonly kind = "luks";
  readonly #settings: LuksSettings;
  /** What each volume's header says, for whoever waits for it; undefined when the volume was not found. */
  readonly #headers = new Map<string, PromiseWithResolvers<HeaderTokens | undefined>>();

  constructor(settings: LuksSettings) {
    this.#settings = settings;
  }

  /** @throws LatchkeyError codes luks/* and device/*; unlock/interrupted when the signal ended the search */
  async find(volume: VolumePlan, context: FindContext): Promise<FoundVolume> {
    const { devices, clock } = this.#settings;
    try {
      const found = await new LuksSearch(volume, context, devices, clock).run();
      this.#headerOf(volume.name).resolve(found);
      return found.header === undefined
        ? new NoLuks(volume.name, found.device)
        : await this.#volume(volume, { ...found, header: found.header }, context);
    } finally {
      // Whoever waits for tokens of a volume that is not found waits no longer.
      this.#headerOf(volume.name).resolve(undefined);
    }
  }

  /** The tokens of one type in a volume's header. Waits until the volume is found; none when it is not. */
  async headerTokens(volume: string, type: string, signal: AbortSignal): Promise<readonly TokenText[]> {
    const found = await beforeAbort(this.#headerOf(volume).promise, signal);
    const tokens = found?.header?.tokens ?? [];
    return tokens
      .filter((token) => token.type === type)
      .map((token) => ({
        origin: `token ${token.id} in the header of ${found?.device}`,
        text: JSON.stringify(token.json),
      }));
  }

  #headerOf(volume: string): PromiseWithResolvers<HeaderTokens | undefined> {
    const known = this.#headers.get(volume) ?? Promise.withResolvers<HeaderTokens | undefined>();
    this.#headers.set(volume, known);
    return known;
  }

  async #volume(
    { name, luks }: VolumePlan,
    { device, headerPath, header }: LuksFound & { readonly header: LuksHeader },
    context: FindContext,
  ): Promise<LuksVolume> {
    const { openers, tool, keyring, mappings } = this.#settings;
    const settings = luks ?? { allowDiscards: false, readOnly: false, openOptions: [], opener: "latchkey" };
    for (const note of header.notes) context.note(note);
    const mapping = settings.mapping ?? (settings.isUnnamed ? `luks-${header.uuid}` : name);
    const state = await this.#stateOf(name, mapping, header, context);
    const memory = await (this.#settings.memory ?? memoryOfMachine)();
    const slots =
      state === "open"
        ? { tried: [settings.keySlot], memory: dearestSlot(header), notes: [] }
        : chooseSlots(name, header, settings.keySlot, memory);
    for (const note of slots.notes) context.note(`${note}: it is not tried`);
    // Known by the time there is a passphrase; whoever then needs it hears of a failure.
    if (state === "closed") tool.canLinkVolumeKeys().catch(() => undefined);
    return new LuksVolume(
      { name, mapping, state, device, headerPath, header, settings, slots },
      { tool, keyring, mappings, opener: openers[settings.opener] },
    );
  }

  /** By the UUID: a mapping may have any name. */
  async #stateOf(
    volume: string,
    mapping: string,
    { uuid }: LuksHeader,
    context: FindContext,
  ): Promise<"open" | "closed"> {
    const mappings = await this.#settings.mappings.list();
    const own = mappings.find((one) => isMappingOf(one, uuid));
    if (own) {
      if (own.name !== mapping) context.note(`it is open as /dev/mapper/${own.name}`);
      return "open";
    }
    const other = mappings.find(({ name }) => name === mapping);
    if (!other) return "closed";
    const what = other.uuid === "" ? "a mapping without a UUID" : other.uuid;
    throw new LatchkeyError("luks/name-taken", `${volume}: the name /dev/mapper/${mapping} is taken by ${what}`, {
      hint: "`dmsetup info` tells more of it; a volume of another name in crypttab or latchkey.toml gets its own mapping",
    });
  }
}

/** Octets, from proc_meminfo(5). Where it cannot be read nothing is refused. */
async function memoryOfMachine(): Promise<number> {
  const text = await readFile("/proc/meminfo", "utf8").catch(() => "");
  const [, kibibytes] = /^MemTotal:\s+(\d+) kB$/m.exec(text) ?? [];
  return kibibytes === undefined ? Number.POSITIVE_INFINITY : 1024 * Number(kibibytes);
}
