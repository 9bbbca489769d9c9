import { parseDeviceReference } from "../../config/device-reference.ts";
import type { VolumePlan } from "../../config/plan.ts";
import { type BlockDevices, referenceText } from "../../system/block-devices.ts";
import type { Clock } from "../../system/clock.ts";
import type { DeviceReference } from "../../system/device-names.ts";
import { absence, lookAgain, Prober } from "../../system/device-wait.ts";
import { asLatchkeyError, LatchkeyError } from "../../system/errors.ts";
import { isRaidMember } from "../../system/raid-member.ts";
import type { FindContext } from "../provider.ts";
import type { LuksHeader } from "./header.ts";
import { readLuksHeader } from "./read-header.ts";

/** The device of a volume and what lies in clear on it. */
export interface LuksFound {
  /** The node that holds the data. */
  readonly device: string;
  /** The node or file of a detached header. */
  readonly headerPath: string | undefined;
  /** Undefined where the device holds no LUKS. */
  readonly header: LuksHeader | undefined;
}

/** Devices looked at side by side. */
const PROBES_AT_ONCE = 4;
/** These may pass: the device is still coming up. */
const transient: ReadonlySet<string> = new Set(["device/missing", "device/unreadable", "device/no-answer"]);

/**
 * Waits for the device of one LUKS volume. Its identity is the UUID in the header, which is read here and not taken from a
 * udev link: a link may be stale, or lead to a file system that was given the same UUID or label.
 */
export class LuksSearch {
  readonly #volume: VolumePlan;
  readonly #context: FindContext;
  readonly #devices: BlockDevices;
  readonly #clock: Clock;
  readonly #prober: Prober;
  /** Why devices that look like LUKS cannot be used: perhaps the one that will be missing. */
  readonly #broken = new Set<string>();
  #lastError: LatchkeyError | undefined;

  constructor(volume: VolumePlan, context: FindContext, devices: BlockDevices, clock: Clock) {
    this.#volume = volume;
    this.#context = context;
    this.#devices = devices;
    this.#clock = clock;
    this.#prober = new Prober(clock);
  }

  /** @throws LatchkeyError as Provider.find */
  async run(): Promise<LuksFound> {
    const wanted = this.#volume.devices.map(referenceText).join(", ");
    const limit = this.#limit;
    let isWaiting = false;
    for await (const _ of lookAgain(this.#devices, this.#clock, limit, this.#context.signal)) {
      const found = await this.#look();
      if (found) return this.#checked(found);
      if (!isWaiting && limit > 0) this.#context.note(`waiting for ${wanted}`);
      isWaiting = true;
    }
    if (this.#context.signal.aborted) {
      throw new LatchkeyError("unlock/interrupted", `${this.#volume.name}: the search for its device was ended`);
    }
    for (const reason of this.#broken) this.#context.note(reason);
    if (this.#lastError) throw this.#lastError;
    throw new LatchkeyError(
      "luks/device-missing",
      // A device named on the command line is a volume by that name.
      `${wanted === this.#volume.name ? "" : `${this.#volume.name}: `}${wanted} ${absence(limit)}`,
      { hint: "is the disk connected, and is the driver of its controller in the initrd?" },
    );
  }

  /** crypttab may set another limit; whoever looks without waiting does so in any case. */
  get #limit(): number {
    const { deviceTimeout } = this.#context;
    return deviceTimeout === 0 ? 0 : (this.#volume.luks?.deviceTimeout ?? deviceTimeout);
  }

  /** @returns undefined while it is worth waiting */
  async #look(): Promise<LuksFound | undefined> {
    try {
      const [reference] = this.#volume.devices;
      if (!reference)
        throw new LatchkeyError("internal/defect", `${this.#volume.name}: a LUKS volume without a device`);
      const header = this.#volume.luks?.header;
      return header === undefined ? await this.#seek(reference) : await this.#withHeader(reference, header);
    } catch (thrown) {
      const error = asLatchkeyError(thrown);
      if (!transient.has(error.code)) throw error;
      this.#lastError = error;
      return undefined;
    }
  }

  /** The header lies elsewhere: the data device says nothing of itself. */
  async #withHeader(reference: DeviceReference, headerText: string): Promise<LuksFound | undefined> {
    const parsed = parseDeviceReference(headerText);
    if ("problem" in parsed) throw new LatchkeyError("internal/defect", `${this.#volume.name}: ${parsed.problem}`);
    const headerPath = await this.#devices.resolve(parsed.value);
    const device = await this.#devices.resolve(reference);
    if (headerPath === undefined || device === undefined) {
      const missing = headerPath === undefined ? `its header ${headerText}` : referenceText(reference);
      this.#lastError = new LatchkeyError(
        "luks/device-missing",
        `${this.#volume.name}: ${missing} ${absence(this.#limit)}`,
        { hint: "a header file has to be in the initrd, and a device connected" },
      );
      return undefined;
    }
    await this.#requireSize(device);
    const header = await this.#probe(headerPath);
    if (header) return { device, headerPath, header };
    throw new LatchkeyError("luks/header-damaged", `${this.#volume.name}: ${headerPath} holds no LUKS header`);
  }

  /** The device at the path or link if it is what the reference says, or else whatever calls itself so. */
  async #seek(reference: DeviceReference): Promise<LuksFound | undefined> {
    const device = await this.#devices.resolve(reference);
    const header = device === undefined ? undefined : await this.#probe(device);
    let found = device === undefined ? undefined : { device, headerPath: undefined, header };
    if (!namesVolume(reference)) return found;
    // A link from before the disk became a member, or from before udev knew.
    if (found?.header && (await this.#isRaidMember(found.device))) found = undefined;
    // A label is no identity: two that bear it are one too many. A UUID is, and udev has chosen among its copies.
    if (found?.header && reference.tag === "UUID" && isNamedBy(reference, found.header)) return found;
    const others = await this.#scan((candidate) => isNamedBy(reference, candidate));
    const uuids = new Set(others.map((other) => other.header.uuid));
    if (uuids.size > 1 || (others.length > 1 && reference.tag === "UUID")) {
      const where = others.map((other) => other.device).join(", ");
      throw new LatchkeyError(
        "luks/ambiguous",
        `${this.#volume.name}: ${referenceText(reference)} names ${others.length} different LUKS volumes: ${where}`,
        { hint: "disconnect one of them, or name the volume by its UUID" },
      );
    }
    return others[0] ?? found;
  }

  /** Every block device with a LUKS header that the test accepts, but for those that another device is built on. */
  async #scan(accepts: (header: LuksHeader) => boolean): Promise<readonly (LuksFound & { header: LuksHeader })[]> {
    const queue = [...(await this.#devices.list())];
    const found: (LuksFound & { header: LuksHeader; isHeld: boolean })[] = [];
    const denied: LatchkeyError[] = [];
    const count = queue.length;
    const work = async (): Promise<void> => {
      for (let next = queue.shift(); next; next = queue.shift()) {
        const { path, isHeld } = next;
        try {
          const header = await this.#probe(path);
          if (!header || !accepts(header)) continue;
          // Its array, once that runs, is the volume: opened here, the members would no longer be the same.
          if (!isHeld && (await this.#isRaidMember(path))) continue;
          found.push({ device: path, headerPath: undefined, header, isHeld });
        } catch (thrown) {
          const error = asLatchkeyError(thrown);
          if (error.code === "luks/header-damaged") this.#broken.add(error.message);
          if (error.code === "device/permission-denied") denied.push(error);
        }
      }
    };
    await Promise.all(Array.from({ length: PROBES_AT_ONCE }, work));
    if (denied[0] && denied.length === count) throw denied[0];
    // The members of a mirror look like the volume, which is the mirror; a volume that is open is held by its mapping.
    const free = found.filter(({ isHeld }) => !isHeld);
    return (free.length > 0 ? free : found).sort((a, b) => (a.device < b.device ? -1 : 1));
  }

  /** An array that does not run yet has a node already, and a header elsewhere would be proved before there is what to open. */
  async #requireSize(path: string): Promise<void> {
    await this.#prober.ask(path, async () => {
      await using _ = await this.#devices.open(path);
    });
  }

  async #isRaidMember(path: string): Promise<boolean> {
    return await this.#prober.ask(path, async () => {
      await using reader = await this.#devices.open(path);
      const isMember = await isRaidMember(reader);
      if (isMember) this.#broken.add(`${path} is a member of a RAID array, which does not run`);
      return isMember;
    });
  }

  async #probe(path: string): Promise<LuksHeader | undefined> {
    return await this.#prober.ask(path, async () => {
      await using reader = await this.#devices.open(path);
      return await readLuksHeader(reader);
    });
  }

  /** Every UUID that was stated for the volume is the header's, or this is another volume. */
  #checked(found: LuksFound): LuksFound {
    if (!found.header) return found;
    const { header, uuid } = this.#volume.luks ?? {};
    const references = header === undefined ? this.#volume.devices : [];
    const stated = [
      ...references.flatMap((one) => (one.by === "tag" && one.tag === "UUID" ? [one.value.toLowerCase()] : [])),
      ...(uuid === undefined ? [] : [uuid]),
    ];
    const other = stated.find((uuid) => uuid !== found.header?.uuid);
    if (other === undefined) return found;
    throw new LatchkeyError(
      "luks/other-volume",
      `${this.#volume.name}: ${found.headerPath ?? found.device} is LUKS ${found.header.uuid}, not ${other}: refused`,
      { hint: "the disk may have been swapped or formatted anew; `latchkey inspect` shows what it is" },
    );
  }
}

function namesVolume(reference: DeviceReference): reference is Extract<DeviceReference, { by: "tag" }> {
  return reference.by === "tag" && (reference.tag === "UUID" || reference.tag === "LABEL");
}

function isNamedBy(reference: Extract<DeviceReference, { by: "tag" }>, { uuid, label }: LuksHeader): boolean {
  return reference.tag === "UUID" ? uuid === reference.value.toLowerCase() : label !== "" && label === reference.value;
}
