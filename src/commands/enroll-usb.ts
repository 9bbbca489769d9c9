import { type Command, InvalidArgumentError, Option } from "commander";
import { keyFilePath } from "../config/key-sources.ts";
import { configurationFile, loadPlan } from "../config/load.ts";
import type { Plan, UsbPlan, VolumePlan } from "../config/plan.ts";
import { provenPassphrase } from "../enroll/passphrase.ts";
import { type Person, PersonAtTerminal } from "../enroll/person.ts";
import type { Target } from "../enroll/target.ts";
import { readConfiguration, writeConfiguration } from "../enroll/usb/configuration-store.ts";
import type { KnownVolume, StickEntry } from "../enroll/usb/edit-configuration.ts";
import { type ConfigurationFile, type EnrolledStick, enrolStick, stickSteps } from "../enroll/usb/enrol-stick.ts";
import { type FoundStick, findStick, type StickPlace } from "../enroll/usb/find-stick.ts";
import { NEXT_STICK_LIMIT, waitForNewStick } from "../enroll/usb/next-stick.ts";
import { type RevokedStick, revokeStick } from "../enroll/usb/revoke-stick.ts";
import { ChildKeyReader } from "../sources/usb/child-reader.ts";
import { SystemSticks } from "../sources/usb/sticks.ts";
import { exitStatus, LatchkeyError } from "../system/errors.ts";
import { hardenProcess } from "../system/hardening.ts";
import type { SecretBytes } from "../system/secret-bytes.ts";
import { WritableFolder } from "../system/writable-folder.ts";
import { givenCredential } from "./credential-options.ts";
import { addEnrolOptions, type EnrolOptions } from "./enroll-run.ts";
import { findStickTarget } from "./enroll-target.ts";
import { abortOnSignals } from "./interrupt.ts";
import { acts, print, printJson, printWarning } from "./run.ts";

interface Options extends EnrolOptions {
  readonly device?: string;
  readonly mount?: string;
  readonly path?: string;
  readonly anyBus?: true;
  readonly yes?: true;
  readonly revoke?: true;
  readonly uuid?: string;
}

export function registerEnrollUsb(parent: Command): void {
  const command = parent
    .command("usb")
    .summary("a key file on a USB stick opens the volume")
    .description(
      "Writes a key file to a stick, proves that the volume opens with what is read from it again, and writes the stick's UUID and the key's SHA-256 into the configuration. Shows what is on the stick and what changes, and asks, before anything is written. LUKS2: a random key in a slot of its own. bcachefs: the passphrase itself, since there is no other key.",
    );
  addEnrolOptions(command)
    .addOption(new Option("--device <path>", "the stick's partition, mounted or not").conflicts("mount"))
    .option("--mount <folder>", "where the stick is mounted")
    .option("--path <file>", "the key file's place on the stick (default: NAME.key)", placeOnStick)
    .option("--any-bus", "take a disk that is neither removable nor on a USB bus")
    .option("--yes", "ask nothing: it is the right stick")
    .option("--revoke", "shut a stick out again: its key slot, its key file if it is at hand, and its lines")
    .option("--uuid <uuid>", "with --revoke: which stick, where the volume has several; --path says which of its files")
    .addHelpText(
      "after",
      "\nExamples:\n  sudo latchkey enroll usb root --device /dev/sdb1\n  sudo latchkey enroll usb root --revoke --uuid 4F2A-99C1",
    );
  acts(command, async (volume: string, options: Options) => {
    hardenProcess();
    return await new Session(volume, options).run();
  });
}

/** Read as the configuration reads it, where it will be written. */
function placeOnStick(text: string): string {
  const read = keyFilePath.safeParse(text);
  if (read.success) return read.data;
  throw new InvalidArgumentError(read.error.issues[0]?.message ?? "");
}

/** What one call of the command works with. */
class Session {
  readonly #argument: string;
  readonly #options: Options;
  readonly #plan: Plan;
  readonly #notes: string[] = [];
  readonly #signal = abortOnSignals();
  readonly #configuration: ConfigurationFile;

  constructor(argument: string, options: Options) {
    this.#argument = argument;
    this.#options = options;
    this.#plan = loadPlan({ mode: "strict", configFile: options.config });
    for (const warning of this.#plan.warnings) printWarning(warning);
    const file = options.config ?? configurationFile;
    this.#configuration = {
      file,
      read: () => readConfiguration(file),
      write: (text) => writeConfiguration(file, text),
    };
  }

  async run(): Promise<number> {
    const target = await findStickTarget(this.#argument, this.#plan);
    using scope = new DisposableStack();
    return this.#options.revoke ? await this.#revoke(target, scope) : await this.#enroll(target, scope);
  }

  async #enroll(target: Target, scope: DisposableStack): Promise<number> {
    const reader = scope.use(new ChildKeyReader());
    const place = this.#place();
    if (!place) {
      throw new LatchkeyError("usage/invalid", "which stick is meant?", {
        hint: "name its partition with --device /dev/sdb1, or where it is mounted with --mount",
      });
    }
    const anyBus = this.#options.anyBus === true;
    const stick = await findStick(place, { reader, anyBus }, this.#signal);
    refuseOwnDisk(stick, target);
    const path = this.#options.path ?? `${target.facts.name.replaceAll("/", "-").replace(/^-+/, "")}.key`;
    if (this.#options.dryRun) {
      const steps = stickSteps({ target, stick, path, configuration: this.#configuration });
      if (this.#options.json) printJson({ steps });
      else for (const step of steps) print(step);
      return exitStatus.done;
    }
    const passphrase = await this.#passphrase(target, scope);
    for (let next: FoundStick | undefined = stick, count = 1; next; count += 1) {
      const means = { target, stick: next, path, passphrase, reader, ...this.#shared(target) };
      this.#tell(target, next, await enrolStick(means));
      next = await this.#nextStick(reader, target, count === 1 ? "a second" : "another");
      // A slot and a token of its own: each stick can be shut out by itself.
      if (next)
        target = await findStickTarget(this.#argument, loadPlan({ mode: "strict", configFile: this.#options.config }));
    }
    return exitStatus.done;
  }

  #shared(target: Target) {
    return {
      volume: knownVolume(this.#plan, target),
      person: this.#options.yes ? undefined : new PersonAtTerminal(),
      configuration: this.#configuration,
      openFolder: (stick: FoundStick) =>
        stick.mountPoint === undefined
          ? WritableFolder.mount(stick.device, stick.type)
          : WritableFolder.at(stick.mountPoint),
      say: (line: string) => this.#say(line),
      note: (text: string) => this.#note(text),
      signal: this.#signal,
    };
  }

  async #passphrase(target: Target, scope: DisposableStack): Promise<SecretBytes> {
    const given = givenCredential(this.#options);
    const passphrase = given && scope.use(given.secret);
    const person = new PersonAtTerminal();
    const say = (line: string) => this.#say(line);
    this.#say(`prove the passphrase of ${target.facts.name}`);
    return await provenPassphrase({ target, person, passphrase, say, signal: this.#signal }, scope);
  }

  #tell(target: Target, stick: FoundStick, { entry, slot, isConfigured, old }: EnrolledStick): void {
    const next = [
      ...(isConfigured ? [] : [`write the stick into ${this.#configuration.file}`]),
      "rebuild the initrd (latchkey install), so that it knows the stick",
    ];
    if (this.#options.json) {
      printJson({
        volume: target.facts.name,
        kind: target.kind,
        stick: { device: stick.device, type: stick.type, uuid: entry.uuid, path: entry.path, sha256: entry.sha256 },
        key_slot: slot ?? null,
        configured: isConfigured,
        notes: this.#notes.concat(keptAs(old)),
        next,
      });
      return;
    }
    print(`${target.facts.name}: the stick ${entry.uuid} opens it, proved with what was read from it`);
    for (const line of keptAs(old)) print(`note: ${line}`);
    for (const line of next) print(`next: ${line}`);
  }

  /** Only where somebody can answer: a stick may be lost, and then another one is needed. */
  async #nextStick(reader: ChildKeyReader, target: Target, which: string): Promise<FoundStick | undefined> {
    if (this.#options.yes || this.#options.json) return undefined;
    const person: Person = new PersonAtTerminal();
    const question = `Make ${which} stick now, for the day this one is lost?`;
    if (!(await person.confirm([], question, this.#signal))) return undefined;
    const minutes = NEXT_STICK_LIMIT / 60_000;
    print(`put another stick for ${target.facts.name} in now: it is waited for ${minutes} minutes`);
    return await waitForNewStick(new SystemSticks(), reader, this.#signal);
  }

  async #revoke(target: Target, scope: DisposableStack): Promise<number> {
    const entry = chosenStick(this.#argument, target, this.#plan, this.#options);
    const place = this.#place();
    const reader = scope.use(new ChildKeyReader());
    const stick = place && (await findStick(place, { reader, anyBus: true }, this.#signal));
    if (stick && stick.uuid.toLowerCase() !== entry.uuid.toLowerCase()) {
      throw new LatchkeyError("enroll/not-a-stick", `${stick.device} is ${stick.uuid}, not the stick ${entry.uuid}`);
    }
    const { openFolder, ...shared } = this.#shared(target);
    const revoked = await revokeStick({
      ...shared,
      target,
      entry,
      volume: target.facts.name,
      passphrase: () => this.#passphrase(target, scope),
      openFolder: stick && (() => openFolder(stick)),
    });
    this.#tellRevoked(target, entry, revoked);
    return exitStatus.done;
  }

  #tellRevoked(target: Target, { uuid }: StickEntry, { slots, isErased, isConfigured, old }: RevokedStick): void {
    const next = ["rebuild the initrd (latchkey install)"];
    if (this.#options.json) {
      const facts = { volume: target.facts.name, uuid, key_slots: slots, erased: isErased, configured: isConfigured };
      printJson({ ...facts, notes: this.#notes.concat(keptAs(old)), next });
      return;
    }
    const shut = slots.length > 0 ? `key slot ${slots.join(", ")} is gone` : "it is no longer configured";
    print(`${target.facts.name}: the stick ${uuid} is shut out: ${shut}`);
    for (const line of keptAs(old)) print(`note: ${line}`);
    for (const line of next) print(`next: ${line}`);
  }

  #place(): StickPlace | undefined {
    const { device, mount } = this.#options;
    if (device !== undefined) return { device };
    return mount === undefined ? undefined : { mount };
  }

  #say(line: string): void {
    if (!this.#options.json) print(line);
  }

  #note(text: string): void {
    this.#notes.push(text);
    this.#say(`note: ${text}`);
  }
}

function keptAs(old: string | undefined): readonly string[] {
  return old === undefined ? [] : [`the configuration of before is kept as ${old}`];
}

/** A key beside the lock. */
function refuseOwnDisk({ device, disk }: FoundStick, target: Target): void {
  const sticks = new SystemSticks();
  const devices = target.kind === "luks2" ? [target.facts.device] : target.volume.devices;
  if (!devices.some((path) => (sticks.look(path)?.partitionOf?.disk ?? path) === disk)) return;
  throw new LatchkeyError(
    "enroll/not-a-stick",
    `${device} is on the disk of ${target.facts.name} itself: whoever has that disk would have its key`,
  );
}

/** What a new table for the volume would say. */
function knownVolume(plan: Plan, target: Target): KnownVolume {
  const known: VolumePlan | undefined = plan.volumes.find(({ name }) => name === target.facts.name);
  if (known) {
    // A token that lies in the header counts without being named, and one that does not would be missed if it were.
    const isThere = target.kind === "luks2" && target.boundSlots.length > 0;
    const sources = known.sources.filter(
      (source) => source.kind !== "clevis" || source.inHeader !== "if-any" || isThere,
    );
    return { ...known, sources: sources.map(({ kind }) => kind) };
  }
  return {
    name: target.facts.name,
    kind: target.kind === "luks2" ? "luks" : "bcachefs",
    devices: [{ by: "path", path: target.kind === "luks2" ? target.facts.device : (target.volume.devices[0] ?? "") }],
    sources: ["prompt"],
  };
}

/** The stick that `--uuid` names, or the only one there is. */
function chosenStick(argument: string, target: Target, plan: Plan, { uuid, path }: Options): StickEntry {
  const volume = plan.volumes.find(({ name }) => name === target.facts.name);
  const sticks = (volume?.sources ?? []).filter((source): source is UsbPlan => source.kind === "usb");
  const entries = sticks.flatMap(({ place, sha256 }) =>
    place.by === "filesystem" ? [{ uuid: place.uuid, path: place.path, sha256 }] : [],
  );
  const [chosen, ...others] = entries.filter(
    (entry) =>
      (uuid === undefined || entry.uuid.toLowerCase() === uuid.toLowerCase()) &&
      (path === undefined || entry.path === path),
  );
  if (chosen && others.length === 0) return chosen;
  const known = entries.map((entry) => `${entry.uuid} (${entry.path})`).join(", ");
  const what = chosen ? `${argument} has several sticks` : `${argument} has no such stick in the configuration`;
  throw new LatchkeyError("usage/invalid", what, {
    hint: known === "" ? "it has none at all" : `it has ${known}: say which with --uuid, or --path`,
  });
}
