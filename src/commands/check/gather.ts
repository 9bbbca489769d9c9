import { existsSync } from "node:fs";
import { type Crypttab, parseCrypttab } from "../../config/crypttab.ts";
import { configurationFile, loadPlanWithProblems } from "../../config/load.ts";
import { readTextFile } from "../../config/read-text.ts";
import { readTokenFile } from "../../sources/clevis/token-file.ts";
import { ChildKeyReader } from "../../sources/usb/child-reader.ts";
import { SystemSticks } from "../../sources/usb/sticks.ts";
import { stacks } from "../../stacks/choose-stack.ts";
import type { Files } from "../../stacks/files.ts";
import type { Stack } from "../../stacks/stack.ts";
import { thisMachine } from "../../stacks/this-machine.ts";
import { devicesBelow } from "../../system/below-mount.ts";
import { SystemBlockDevices } from "../../system/block-devices.ts";
import { monotonicClock } from "../../system/clock.ts";
import { assembleProviders } from "../assemble.ts";
import { filesForImage } from "../image-files.ts";
import { imageNeeds } from "../image-needs.ts";
import { keyFilesForImage } from "../key-file-needs.ts";
import { lookAt } from "../look.ts";
import type { CheckFacts, Gathered, ReaderFacts } from "./facts.ts";
import { gatherImages, isNixos, stacksHere } from "./gather-images.ts";
import { gatherRemote } from "./gather-remote.ts";
import { gatherRoot } from "./gather-root.ts";
import { readinessOf } from "./gather-sources.ts";
import { gatherVolumes } from "./gather-volumes.ts";
import { gathered, gatheredNow } from "./gathered.ts";
import { proveStickKey } from "./prove-stick.ts";

export interface Wanted {
  readonly configFile: string | undefined;
  readonly withImages: boolean;
}

/** Milliseconds until it is known what builds initrds here. */
const STACK_LIMIT = 10_000;
/** Milliseconds until the headers of volumes have said which tokens they hold. */
const NEEDS_LIMIT = 30_000;
const CRYPTTAB = "/etc/crypttab";

/** This machine, looked at for the next boot. */
export async function gatherFacts({ configFile, withImages }: Wanted, signal: AbortSignal): Promise<CheckFacts> {
  const { plan, problems } = loadPlanWithProblems({ mode: "boot", configFile });
  const clock = monotonicClock;
  const machine = thisMachine(signal);
  const found = await gathered("what builds initrds", STACK_LIMIT, clock, signal, async () =>
    stacksHere(machine, stacks),
  );
  const here = "value" in found ? found.value : [];
  const crypttab = gatheredNow(CRYPTTAB, () => {
    const text = readTextFile(CRYPTTAB);
    return text === undefined ? undefined : parseCrypttab(text, CRYPTTAB);
  });
  const isNixosHere = here.length === 0 && isNixos(machine);
  const sticks = new SystemSticks();
  const providers = assembleProviders();
  const needs = await gathered("what the initrd needs", NEEDS_LIMIT, clock, signal, async () =>
    // A token that cannot be read is told of with its source.
    imageNeeds(plan, () => undefined),
  );
  const wishes = {
    needs: "value" in needs ? needs.value : new Set<string>(),
    keyFiles: keyFilesForImage(plan),
    files: filesForImage(plan),
    hasRemote: plan.remote !== undefined,
    wantsBcachefs: plan.volumes.some(({ kind, certainty }) => kind === "bcachefs" && certainty === "stated"),
  };
  const root = isNixosHere ? undefined : gatherRoot(devicesBelow("/"));
  using reader = new ChildKeyReader();
  const [volumes, images] = await Promise.all([
    gatherVolumes(
      plan,
      {
        clock,
        files: machine.files,
        devices: new SystemBlockDevices(),
        look: (path) => sticks.look(path),
        readToken: readTokenFile,
        readiness: (source) => readinessOf(plan, source),
        providers,
        lookAt: (part) => lookAt(part, providers),
        ...(machine.isRoot ? { proveStick: (usb, stick, until) => proveStickKey(usb, stick, reader, until) } : {}),
      },
      signal,
    ),
    withImages && "value" in found ? gatherImages(here, wishes, thisMachine, clock, signal) : undefined,
  ]);
  return {
    configuration: {
      file: configFile ?? configurationFile,
      isThere: existsSync(configFile ?? configurationFile),
      isEnabled: plan.enabled,
      problems,
    },
    ...optional("crypttab", crypttab),
    leftToSystem: plan.leftToSystem,
    readers: readersOf(here),
    missingKeyscripts: missingKeyscripts(machine.files, here, crypttab),
    ...(root === undefined ? {} : { root }),
    volumes,
    ...("error" in found && withImages ? { images: found } : images === undefined ? {} : { images }),
    // NixOS has keys and server of its initrd in its own configuration.
    ...(plan.remote === undefined || isNixosHere
      ? {}
      : { remote: gatherRemote(machine, here[0]?.name ?? "dracut", plan.remote) }),
  };
}

/** Only Debian's scripts run keyscripts; a name without a slash is one of theirs, crypttab(5) there. */
export function missingKeyscripts(
  files: Files,
  here: readonly Pick<Stack, "name">[],
  crypttab: Gathered<Crypttab | undefined>,
): readonly string[] {
  if (!here.some(({ name }) => name === "initramfs-tools") || !("value" in crypttab)) return [];
  const paths = (crypttab.value?.entries ?? []).flatMap(({ options }) =>
    options.flatMap(({ name, value = "" }) => {
      if (name !== "keyscript" || value === "") return [];
      return [value.includes("/") ? value : `/lib/cryptsetup/scripts/${value}`];
    }),
  );
  const canRun = (path: string): boolean => {
    const facts = files.facts(path);
    if (facts?.kind === "link") return files.realPath(path) !== undefined;
    return facts?.kind === "file" && (facts.mode & 0o111) !== 0;
  };
  return [...new Set(paths)].filter((path) => !canRun(path));
}

/** dracut and NixOS have systemd in their initrds; in an initramfs of Debian's its own scripts read crypttab. */
export function readersOf(here: readonly Pick<Stack, "name">[]): ReaderFacts {
  const isDebian = here.some(({ name }) => name === "initramfs-tools");
  const isSystemd = !isDebian || here.length > 1;
  return {
    readers: [...(isSystemd ? (["systemd"] as const) : []), ...(isDebian ? (["debian"] as const) : [])],
    latchkeyOpens: isDebian,
  };
}

function optional<K extends string, T>(key: K, facts: Gathered<T | undefined>): Partial<Record<K, Gathered<T>>> {
  if ("error" in facts) return { [key]: facts } as Partial<Record<K, Gathered<T>>>;
  if (facts.value === undefined) return {};
  return { [key]: { value: facts.value } } as Partial<Record<K, Gathered<T>>>;
}
