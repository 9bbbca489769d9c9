import type { VolumePlan } from "../../config/plan.ts";
import { type BlockDevice, type BlockDevices, referenceText } from "../../system/block-devices.ts";
import type { Clock } from "../../system/clock.ts";
import type { DeviceReference } from "../../system/device-names.ts";
import { absence, lookAgain, Prober } from "../../system/device-wait.ts";
import { asLatchkeyError, LatchkeyError } from "../../system/errors.ts";
import type { FindContext } from "../provider.ts";
import { type FilesystemView, type MemberDevice, memberText, viewFilesystem } from "./members.ts";
import { readSuperblock } from "./read.ts";

/** Devices looked at side by side. */
const PROBES_AT_ONCE = 4;
/** How many missing members a message names. */
const MEMBERS_NAMED = 4;

/** These may pass: the device is still coming up. */
const transient: ReadonlySet<string> = new Set(["device/missing", "device/unreadable", "device/no-answer"]);

/**
 * Waits for the devices of one bcachefs volume, each wait with its limit.
 *
 * A udev link is believed only as far as the superblock agrees, and where there is none every block device is asked:
 * libblkid before 2.39 does not know current superblocks, 2.41 had a regression, and after `device add` udev may show an
 * old UUID (bcachefs-tools issue 267). Further members are found by the internal UUID over all block devices.
 */
export class FilesystemSearch {
  readonly #volume: VolumePlan;
  readonly #context: FindContext;
  readonly #devices: BlockDevices;
  readonly #clock: Clock;
  readonly #prober: Prober;
  /** Why devices that look like bcachefs cannot be used: perhaps the members that will be missing. */
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
  async run(): Promise<FilesystemView> {
    const view = await this.#allMembers(await this.#firstDevice());
    for (const note of view.notes) this.#context.note(note);
    return view;
  }

  async #firstDevice(): Promise<MemberDevice> {
    const wanted = this.#volume.devices.map(referenceText).join(", ");
    let isWaiting = false;
    for await (const _ of this.#wakeups(this.#context.deviceTimeout)) {
      const found = await this.#look();
      if (found) return found;
      if (!isWaiting && this.#context.deviceTimeout > 0) this.#context.note(`waiting for ${wanted}`);
      isWaiting = true;
    }
    this.#throwIfInterrupted();
    if (this.#lastError) throw this.#lastError;
    throw new LatchkeyError(
      "bcachefs/device-missing",
      // A device named on the command line is a volume by that name.
      `${wanted === this.#volume.name ? "" : `${this.#volume.name}: `}${wanted} ${absence(this.#context.deviceTimeout)}`,
      { hint: "is the disk connected, and is the driver of its controller in the initrd?" },
    );
  }

  /**
   * One look at what the plan names, in its order.
   * @returns undefined while it is worth waiting
   */
  async #look(): Promise<MemberDevice | undefined> {
    let mayStillCome = false;
    for (const reference of this.#volume.devices) {
      try {
        const found = await this.#seek(reference);
        if (found) return found;
        mayStillCome = true;
      } catch (thrown) {
        this.#lastError = asLatchkeyError(thrown);
        if (mayPass(this.#lastError, reference)) mayStillCome = true;
      }
    }
    if (!mayStillCome && this.#lastError) throw this.#lastError;
    return undefined;
  }

  /** The device at the path or udev's link if it is what the reference says, or else whatever calls itself so. */
  async #seek(reference: DeviceReference): Promise<MemberDevice | undefined> {
    const path = await this.#devices.resolve(reference);
    let failure: LatchkeyError | undefined;
    try {
      const found = path === undefined ? undefined : await this.#probe({ path, isHeld: false });
      if (found && (!namesFilesystem(reference) || isNamedBy(reference, found))) return found;
    } catch (thrown) {
      failure = asLatchkeyError(thrown);
    }
    const found = namesFilesystem(reference) ? await this.#bySuperblock(reference) : undefined;
    if (!found && failure) throw failure;
    return found;
  }

  /** UUID= and LABEL= found by our own probe of every block device. */
  async #bySuperblock(reference: DeviceReference): Promise<MemberDevice | undefined> {
    const found = await this.#scan((device) => isNamedBy(reference, device));
    const filesystems = new Set(found.map(({ superblock }) => superblock.internalUuid));
    if (filesystems.size > 1) {
      throw new LatchkeyError(
        "bcachefs/ambiguous",
        `${referenceText(reference)} names ${filesystems.size} different bcachefs file systems: ${found.map(({ path }) => path).join(", ")}`,
        { hint: "disconnect one of them, or name the volume by another tag" },
      );
    }
    return found[0];
  }

  async #allMembers(first: MemberDevice): Promise<FilesystemView> {
    let view = viewFilesystem([first]);
    // Most file systems have one device: then there is nothing to search for.
    if (view.missing.length === 0 && this.#volume.devices.length === 1) return view;
    let isWaiting = false;
    for await (const _ of this.#wakeups(this.#context.memberTimeout)) {
      view = await this.#viewWith(first);
      if (view.missing.length === 0) return view;
      if (!isWaiting && this.#context.memberTimeout > 0) this.#context.note(`waiting for ${missingText(view)}`);
      isWaiting = true;
    }
    this.#throwIfInterrupted();
    for (const reason of this.#broken) this.#context.note(reason);
    const missing = `${missingText(view)} ${absence(this.#context.memberTimeout)}`;
    if (this.#context.allowDegraded) {
      this.#context.note(this.#context.memberTimeout > 0 ? `going on degraded: ${missing}` : missing);
      return view;
    }
    for (const note of view.notes) this.#context.note(note);
    throw new LatchkeyError("bcachefs/members-missing", `${this.#volume.name}: ${missing}`, {
      hint: "connect them, or allow a degraded start (policy allow_degraded)",
    });
  }

  async #viewWith(first: MemberDevice): Promise<FilesystemView> {
    const isOurs = ({ superblock }: MemberDevice): boolean => superblock.internalUuid === first.superblock.internalUuid;
    const byPath = new Map([[first.path, first]]);
    // Who may not read every disk may still have named all members.
    for (const device of await this.#scan(isOurs).catch(() => [])) byPath.set(device.path, device);
    for (const reference of this.#volume.devices) {
      // Image files and the like are in no list of block devices.
      const path = await this.#devices.resolve(reference).catch(() => undefined);
      if (path === undefined || byPath.has(path)) continue;
      const named = await this.#probe({ path, isHeld: false }).catch(() => undefined);
      if (named && isOurs(named)) byPath.set(path, named);
    }
    const [newest = first, ...others] = byPath.values();
    return viewFilesystem([newest, ...others]);
  }

  /**
   * Every block device with a good bcachefs superblock that the test accepts. What cannot be read is passed over, unless
   * this user may read none at all: then waiting would help nobody.
   */
  async #scan(accepts: (device: MemberDevice) => boolean): Promise<readonly MemberDevice[]> {
    const queue = [...(await this.#devices.list())];
    const found: MemberDevice[] = [];
    const denied: LatchkeyError[] = [];
    const count = queue.length;
    const work = async (): Promise<void> => {
      for (let next = queue.shift(); next; next = queue.shift()) {
        try {
          const device = await this.#probe(next);
          if (accepts(device)) found.push(device);
        } catch (thrown) {
          const error = asLatchkeyError(thrown);
          if (error.code === "bcachefs/superblock-damaged") this.#broken.add(error.message);
          if (error.code === "device/permission-denied") denied.push(error);
        }
      }
    };
    await Promise.all(Array.from({ length: PROBES_AT_ONCE }, work));
    if (denied[0] && denied.length === count) throw denied[0];
    return found.sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  async #probe({ path, isHeld }: BlockDevice): Promise<MemberDevice> {
    const superblock = await this.#prober.ask(path, () => probeSuperblock(this.#devices, path));
    return { path, superblock, isHeld };
  }

  #wakeups(limit: number): AsyncGenerator<void> {
    return lookAgain(this.#devices, this.#clock, limit, this.#context.signal);
  }

  #throwIfInterrupted(): void {
    if (!this.#context.signal.aborted) return;
    throw new LatchkeyError("unlock/interrupted", `${this.#volume.name}: the search for its devices was ended`);
  }
}

async function probeSuperblock(devices: BlockDevices, path: string): Promise<MemberDevice["superblock"]> {
  await using reader = await devices.open(path);
  return (await readSuperblock(reader)).superblock;
}

/**
 * Is it worth waiting after this? Behind a UUID= or LABEL= a damaged member may yet be joined by a good one. A device that
 * holds something else will not change: waiting would only hold up the boot of a root that is no bcachefs.
 */
function mayPass({ code }: LatchkeyError, reference: DeviceReference): boolean {
  return transient.has(code) || (code === "bcachefs/superblock-damaged" && namesFilesystem(reference));
}

function namesFilesystem(reference: DeviceReference): boolean {
  return reference.by === "tag" && (reference.tag === "UUID" || reference.tag === "LABEL");
}

function isNamedBy(reference: DeviceReference, { superblock }: MemberDevice): boolean {
  if (reference.by !== "tag") return false;
  return reference.tag === "UUID"
    ? superblock.externalUuid === reference.value.toLowerCase()
    : superblock.label !== "" && superblock.label === reference.value;
}

/** `1 of 3 members (slot 2 …)` */
function missingText({ missing, newest }: FilesystemView): string {
  const named = missing.slice(0, MEMBERS_NAMED).map(memberText);
  if (missing.length > MEMBERS_NAMED) named.push(`${missing.length - MEMBERS_NAMED} more`);
  return `${missing.length} of ${newest.superblock.members.length} members, ${named.join(", ")},`;
}
