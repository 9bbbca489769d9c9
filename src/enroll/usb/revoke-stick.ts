import { member } from "../../jose/json.ts";
import { tokensOfType } from "../../providers/luks/luks2-header.ts";
import { asLatchkeyError, LatchkeyError } from "../../system/errors.ts";
import type { SecretBytes } from "../../system/secret-bytes.ts";
import type { Person } from "../person.ts";
import type { Target } from "../target.ts";
import { removeStick, type StickEntry } from "./edit-configuration.ts";
import { type ConfigurationFile, STICK_TOKEN, type StickFolder } from "./enrol-stick.ts";
import { lineDiff } from "./line-diff.ts";

export interface RevokeMeans {
  readonly target: Target;
  /** As the configuration has it. */
  readonly entry: StickEntry;
  readonly volume: string;
  /** Of a key slot that stays; not needed where no key slot goes. Stays the caller's. */
  passphrase(): Promise<SecretBytes>;
  readonly person: Person | undefined;
  readonly configuration: ConfigurationFile;
  /** Present when the stick is at hand. */
  readonly openFolder?: (() => StickFolder) | undefined;
  say(line: string): void;
  note(text: string): void;
  readonly signal: AbortSignal;
}

export interface RevokedStick {
  /** Key slots that were taken out. */
  readonly slots: readonly number[];
  readonly isErased: boolean;
  readonly isConfigured: boolean;
  readonly old: string | undefined;
}

/**
 * A stick that is lost, or not wanted any longer: its key slot goes first, since that is what shuts the volume to it, then the key
 * file where the stick is at hand, and the configuration last.
 * @throws LatchkeyError
 */
export async function revokeStick(means: RevokeMeans): Promise<RevokedStick> {
  const { target, entry, volume, configuration, say, note } = means;
  const { text, isOurs } = configuration.read();
  const edited = isOurs ? removeStick(text, volume, entry) : undefined;
  const marked = target.kind === "luks2" ? await markedSlots(target, entry) : [];
  await agree(means, text, edited, marked);
  if (target.kind === "luks2") {
    if (marked.length === 0) {
      note(`no key slot of ${target.device.path} is marked as this stick's: cryptsetup luksDump shows what there is`);
    } else {
      const passphrase = await means.passphrase();
      for (const { id, slots } of marked) {
        for (const slot of slots) {
          say(`take key slot ${slot} out of ${target.device.path}`);
          await target.device.removeSlot(slot, passphrase);
        }
        // cryptsetup takes no token out with its slot.
        say(`take token ${id} out of ${target.device.path}`);
        if ((await target.device.metadata()).tokens.has(id)) await target.device.removeToken(id);
      }
    }
  } else {
    note(
      `the stick held the passphrase of ${volume}, and whoever copied it has it: change it with bcachefs set-passphrase, and enroll the other sticks and tokens anew`,
    );
  }
  const isErased = eraseKey(means);
  if (edited === undefined)
    note(`latchkey cannot edit ${configuration.file}: take the stick ${entry.uuid} out of it by hand`);
  else say(`take the stick out of ${configuration.file}`);
  const old = edited === undefined ? undefined : configuration.write(edited);
  return { slots: marked.flatMap(({ slots }) => slots), isErased, isConfigured: edited === undefined, old };
}

async function markedSlots(target: Extract<Target, { kind: "luks2" }>, { uuid, path }: StickEntry) {
  const metadata = await target.device.metadata();
  return tokensOfType(metadata, STICK_TOKEN).filter(({ json }) => {
    const marked = member(json, "uuid");
    return typeof marked === "string" && marked.toLowerCase() === uuid.toLowerCase() && member(json, "path") === path;
  });
}

async function agree(
  { target, entry, person, configuration, openFolder, signal }: RevokeMeans,
  text: string,
  edited: string | undefined,
  marked: readonly { readonly slots: readonly number[] }[],
): Promise<void> {
  if (!person) return;
  const slots = marked.flatMap((each) => each.slots);
  const lines = [
    ...(target.kind === "luks2" && slots.length > 0
      ? [`${target.device.path}: key slot ${slots.join(", ")} is taken out`]
      : []),
    openFolder
      ? `the stick: ${entry.path} is erased`
      : `the stick: ${entry.path} stays on it, unless it is put in and named with --device`,
    ...(edited === undefined ? [] : [`${configuration.file}:`, ...lineDiff(text, edited)]),
  ];
  if (await person.confirm(lines, `Shut out the stick ${entry.uuid}?`, signal)) return;
  throw new LatchkeyError("enroll/not-confirmed", `${target.facts.name}: nothing was changed`);
}

function eraseKey({ entry, openFolder, say, note }: RevokeMeans): boolean {
  if (!openFolder) return false;
  say(`erase ${entry.path} on the stick`);
  using folder = openFolder();
  let isErased: boolean;
  try {
    isErased = folder.remove(entry.path);
  } catch (thrown) {
    note(`it is on the stick still: ${asLatchkeyError(thrown).message}`);
    return false;
  }
  note(
    isErased
      ? "a stick may keep what was erased in its spare cells: destroy it if the key still opens something"
      : `there was no ${entry.path} on the stick`,
  );
  return isErased;
}
