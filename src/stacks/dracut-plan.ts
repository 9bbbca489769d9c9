import { LatchkeyError } from "../system/errors.ts";
import { isManaged } from "./carried-file.ts";
import { type DracutFacts, PROGRAM } from "./dracut-facts.ts";
import { DRACUT_MODULE_FOLDER, dracutFiles } from "./dracut-files.ts";
import type { Step } from "./steps.ts";

export interface InstallOptions {
  /** Only this kernel's image; otherwise the image of each kernel that has one. */
  readonly kernel?: string | undefined;
  /** The image to replace, where it is not found by itself. */
  readonly image?: string | undefined;
  readonly rebuild: boolean;
}

/** @throws LatchkeyError when it cannot be done on this machine */
export function planDracutInstall(facts: DracutFacts, options: InstallOptions): readonly Step[] {
  requireDracut(facts, options);
  const { program } = facts;
  if (program.answer !== program.expected) {
    throw new LatchkeyError("install/not-a-program", `${program.path} is not the latchkey program that is running`, {
      hint: "the compiled program installs itself: `npm run build`, then `sudo dist/latchkey install dracut`",
    });
  }
  const steps: Step[] = [];
  if (program.installed === program.expected) {
    steps.push({ do: "nothing", why: `${PROGRAM} is this version already` });
  } else {
    steps.push({ do: "copy-program", from: program.path, to: PROGRAM, replaces: program.installed });
  }
  for (const file of dracutFiles) {
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
  return [...steps, ...imageSteps(facts, options, { latchkey: true, keepOld: true })];
}

/** @throws LatchkeyError when it cannot be done on this machine */
export function planDracutUninstall(facts: DracutFacts, options: InstallOptions): readonly Step[] {
  requireDracut(facts, options);
  const steps: Step[] = [];
  for (const { path } of dracutFiles) {
    const present = facts.present.get(path);
    if (present === undefined) continue;
    if (isManaged(present)) steps.push({ do: "remove", path });
    else steps.push({ do: "nothing", why: `${path} stays: it is not ours` });
  }
  if (steps.length === 0) steps.push({ do: "nothing", why: "latchkey is not installed in dracut" });
  else steps.push({ do: "remove-folder", path: DRACUT_MODULE_FOLDER });
  if (facts.rootIsBcachefs) {
    steps.push({
      do: "nothing",
      why: "warning: dracut alone asks for no passphrase of a bcachefs root, which is what / is",
    });
  }
  if (facts.program.installed !== undefined) {
    steps.push({ do: "nothing", why: `${PROGRAM} stays; without the module it is in no image` });
  }
  steps.push(...imageSteps(facts, options, { latchkey: false, keepOld: false }));
  // Last, when the new images are in place.
  if (options.rebuild) steps.push(...facts.keptImages.map((path) => ({ do: "remove", path }) as const));
  return steps;
}

function requireDracut(facts: DracutFacts, options: InstallOptions): void {
  if (facts.dracut === undefined && options.rebuild) {
    throw new LatchkeyError("install/no-stack", "dracut is not installed", {
      hint: "install the package dracut, or use --no-rebuild to put only the files in place",
    });
  }
}

function imageSteps(
  facts: DracutFacts,
  options: InstallOptions,
  purpose: { readonly latchkey: boolean; readonly keepOld: boolean },
): readonly Step[] {
  if (!options.rebuild) return [{ do: "nothing", why: "no image is rebuilt: run dracut before the next boot" }];
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
