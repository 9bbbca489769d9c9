import { dirname } from "node:path";
import { LatchkeyError } from "../system/errors.ts";
import { bootedFiles, VOLUME_UNIT } from "./booted-files.ts";
import { isManaged } from "./carried-file.ts";
import { carriedFiles, PROGRAM, type StackFacts } from "./facts.ts";
import type { Stack } from "./stack.ts";
import type { Step } from "./steps.ts";

export interface InstallOptions {
  /** Only this kernel's image; otherwise the image of each kernel that has one. */
  readonly kernel?: string | undefined;
  /** The image to replace, where it is not found by itself. */
  readonly image?: string | undefined;
  readonly rebuild: boolean;
}

/** @throws LatchkeyError when it cannot be done on this machine */
export function planInstall(stack: Stack, facts: StackFacts, options: InstallOptions): readonly Step[] {
  requireInstalled(stack, facts, options);
  const { program } = facts;
  if (program.answer !== program.expected) {
    throw new LatchkeyError("install/not-a-program", `${program.path} is not the latchkey program that is running`, {
      hint: "the compiled program installs itself: `npm run build`, then `sudo dist/latchkey install`",
    });
  }
  const steps: Step[] = [];
  if (program.installed === program.expected) {
    steps.push({ do: "nothing", why: `${PROGRAM} is this version already` });
  } else {
    steps.push({ do: "copy-program", from: program.path, to: PROGRAM, replaces: program.installed });
  }
  for (const file of carriedFiles(stack)) {
    const present = facts.present.get(file.path);
    if (present === file.text) {
      steps.push({ do: "nothing", why: `${file.path} is up to date` });
    } else if (present !== undefined && !isManaged(present)) {
      throw new LatchkeyError("install/foreign-file", `${file.path} is there and is not ours`, {
        hint: "move it away, then run this again",
      });
    } else {
      steps.push({ do: "write", file, replaces: present !== undefined });
    }
  }
  return [...steps, ...imageSteps(stack, facts, options, { latchkey: true, keepOld: true })];
}

/** What is left of drop-ins for units of the booted system. */
const dropInFolders = [
  ...new Set(bootedFiles.map(({ path }) => dirname(path)).filter((path) => path.endsWith(".d"))),
].filter((path) => path.startsWith("/usr/lib/systemd/system/"));

/** @throws LatchkeyError when it cannot be done on this machine */
export function planUninstall(stack: Stack, facts: StackFacts, options: InstallOptions): readonly Step[] {
  requireInstalled(stack, facts, options);
  if (facts.keyscriptVolumes.length > 0) {
    const named = facts.keyscriptVolumes.join(", ");
    throw new LatchkeyError("install/still-in-use", `crypttab has keyscript=latchkey for ${named}`, {
      hint: "without it nothing would ask for that passphrase: take the option out of /etc/crypttab first",
    });
  }
  if (facts.unitUsers.length > 0 && isManaged(facts.present.get(VOLUME_UNIT) ?? "")) {
    throw new LatchkeyError("install/still-in-use", `still wanted: ${facts.unitUsers.join(", ")}`, {
      hint: "a mount that requires a unit that is gone stops the boot: take it out of /etc/fstab, or `systemctl disable` it, first",
    });
  }
  const steps: Step[] = [];
  for (const { path } of carriedFiles(stack)) {
    const present = facts.present.get(path);
    if (present === undefined) continue;
    if (isManaged(present)) steps.push({ do: "remove", path });
    else steps.push({ do: "nothing", why: `${path} stays: it is not ours` });
  }
  if (steps.length === 0) steps.push({ do: "nothing", why: `latchkey is not installed in ${stack.name}` });
  else steps.push(...[...stack.folders, ...dropInFolders].map((path) => ({ do: "remove-folder", path }) as const));
  if (facts.rootIsBcachefs && stack.bcachefsWarning !== undefined) {
    steps.push({ do: "nothing", why: `warning: ${stack.bcachefsWarning}` });
  }
  if (facts.program.installed !== undefined) {
    steps.push({ do: "nothing", why: `${PROGRAM} stays; without the hooks it is in no image` });
  }
  steps.push(...imageSteps(stack, facts, options, { latchkey: false, keepOld: false }));
  // Last, when the new images are in place.
  if (options.rebuild) steps.push(...facts.keptImages.map((path) => ({ do: "remove", path }) as const));
  return steps;
}

function requireInstalled(stack: Stack, facts: StackFacts, options: InstallOptions): void {
  if (facts.isInstalled || !options.rebuild) return;
  throw new LatchkeyError("install/no-stack", `${stack.name} is not installed`, {
    hint: `${stack.advice.install}, or use --no-rebuild to put only the files in place`,
  });
}

function imageSteps(
  stack: Stack,
  facts: StackFacts,
  options: InstallOptions,
  purpose: { readonly latchkey: boolean; readonly keepOld: boolean },
): readonly Step[] {
  if (!options.rebuild) return [{ do: "nothing", why: `no image is rebuilt: ${stack.advice.rebuild}` }];
  const kernels = facts.kernels.filter(({ version }) => options.kernel === undefined || version === options.kernel);
  if (kernels.length === 0) {
    const what = options.kernel === undefined ? "no kernel" : `no kernel ${options.kernel}`;
    throw new LatchkeyError("install/no-kernel", `there is ${what} under /usr/lib/modules`, {
      hint: `kernels here: ${facts.kernels.map(({ version }) => version).join(", ") || "none"}`,
    });
  }
  if (options.image !== undefined) {
    const [kernel, ...others] = kernels;
    if (!kernel || others.length > 0) {
      throw new LatchkeyError("usage/invalid", "--image is the image of one kernel, and there are several here", {
        hint: `say which with --kver: ${kernels.map(({ version }) => version).join(", ")}`,
      });
    }
    return [{ do: "image", kernel: kernel.version, image: options.image, ...purpose }];
  }
  const steps = kernels.flatMap(({ version, image }) =>
    image === undefined ? [] : [{ do: "image", kernel: version, image, ...purpose } as const],
  );
  if (steps.length === 0) {
    throw new LatchkeyError("install/no-image", `no initrd was found for ${kernels.map((k) => k.version).join(", ")}`, {
      hint: "name it with --image, together with --kver",
    });
  }
  return steps;
}
