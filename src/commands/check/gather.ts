import { existsSync } from "node:fs";
import { parseCrypttab } from "../../config/crypttab.ts";
import { configurationFile, loadPlanWithProblems } from "../../config/load.ts";
import { readTextFile } from "../../config/read-text.ts";
import { readTokenFile } from "../../sources/clevis/token-file.ts";
import { SystemSticks } from "../../sources/usb/sticks.ts";
import { stacks } from "../../stacks/choose-stack.ts";
import type { Stack } from "../../stacks/stack.ts";
import { thisMachine } from "../../stacks/this-machine.ts";
import { SystemBlockDevices } from "../../system/block-devices.ts";
import { monotonicClock } from "../../system/clock.ts";
import { assembleProviders } from "../assemble.ts";
import { keyFilesForImage } from "../key-file-needs.ts";
import { lookAt } from "../look.ts";
import type { CheckFacts, Gathered, ReaderFacts } from "./facts.ts";
import { gatherImages, isNixos, stacksHere } from "./gather-images.ts";
import { gatherRemote } from "./gather-remote.ts";
import { readinessOf } from "./gather-sources.ts";
import { gatherVolumes } from "./gather-volumes.ts";
import { gathered, gatheredNow } from "./gathered.ts";

export interface Wanted {
  readonly configFile: string | undefined;
  readonly withImages: boolean;
}

/** Milliseconds until it is known what builds initrds here. */
const STACK_LIMIT = 10_000;
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
  const wishes = { keyFiles: keyFilesForImage(plan), hasRemote: plan.remote !== undefined };
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
    volumes,
    ...("error" in found && withImages ? { images: found } : images === undefined ? {} : { images }),
    // NixOS has keys and server of its initrd in its own configuration.
    ...(plan.remote === undefined || isNixosHere
      ? {}
      : { remote: gatherRemote(machine, here[0]?.name ?? "dracut", plan.remote) }),
  };
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
