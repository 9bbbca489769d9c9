import { basename } from "node:path";
import type { Gathered, ImageFacts, KernelImage, RootFacts, VolumeFacts } from "./facts.ts";
import type { Finding } from "./findings.ts";

const INSTALL = "run `latchkey install`";

/** The machine as far as it says what an initrd has to open. */
export interface WhatToOpen {
  readonly volumes: readonly VolumeFacts[];
  readonly root?: RootFacts;
}

/** Do the initrds that this machine boots have what is installed and configured now? */
export function judgeImages(images: Gathered<ImageFacts> | undefined, machine: WhatToOpen): readonly Finding[] {
  if (images === undefined) return [];
  if ("error" in images) return [{ about: "image", severity: "warning", text: images.error.message }];
  const { stacks, isNixos, images: found } = images.value;
  if (isNixos) {
    const text = "NixOS makes the initrd from its own configuration: it is as of the last nixos-rebuild";
    return [{ about: "image", severity: "ok", text }];
  }
  const [, ...others] = stacks;
  if (stacks.length === 0) {
    const text = "nothing that builds an initrd is installed here, so what the next boot has is not known";
    return [{ about: "image", severity: "warning", text }];
  }
  if (others.length > 0) {
    const text = `this machine has ${stacks.join(" and ")}, and neither has latchkey's files`;
    return [
      { about: "image", severity: "problem", text, hint: `say which of them: \`latchkey install ${stacks[0]}\`` },
    ];
  }
  if (found.length === 0) {
    return [
      {
        about: "image",
        severity: "warning",
        text: "there is no kernel in /usr/lib/modules, and so no initrd was looked for",
      },
    ];
  }
  return found.flatMap((image) => judgeImage(image, { ...machine, isDracut: stacks[0] === "dracut" }));
}

function judgeImage(
  { kernel, image, content }: KernelImage,
  machine: WhatToOpen & { readonly isDracut: boolean },
): readonly Finding[] {
  const about = { about: "image" as const, of: kernel };
  if (image === undefined || content === undefined) {
    return [
      { ...about, severity: "warning", text: "no initrd was found for this kernel", hint: `${INSTALL} with --image` },
    ];
  }
  if ("error" in content) {
    const { message, hint } = content.error;
    return [{ ...about, severity: "warning", text: `${image}: ${message}`, ...(hint === undefined ? {} : { hint }) }];
  }
  const { value } = content;
  if (value.by === "time") return judgeTime(about, image, value);
  const failures = value.findings.filter(({ level }) => level === "failure");
  const notes = value.findings.filter(({ level }) => level === "note");
  const unnamed = unnamedIn(value.namesVolumes, machine);
  return [
    ...failures.map(
      ({ text }): Finding => ({ ...about, severity: "problem", text: `${image}: ${text}`, hint: INSTALL }),
    ),
    ...unnamed.map(
      ({ volume: { name }, found }): Finding => ({
        ...about,
        severity: "problem",
        text: `${image}: its crypttab has no ${name}, and so nothing opens it at boot`,
        hint: machine.isDracut
          ? `put rd.luks.uuid=${"value" in found ? found.value.uuid : "UUID"} on the kernel command line, or hostonly="yes" into /etc/dracut.conf.d and ${INSTALL}`
          : `is its device in /etc/crypttab there now, by its UUID? then ${INSTALL}`,
      }),
    ),
    ...notes.map(({ text }): Finding => ({ ...about, severity: "warning", text: `${image}: ${text}` })),
    ...(failures.length + unnamed.length > 0
      ? []
      : [
          {
            ...about,
            severity: "ok" as const,
            text: `${image}: has this program, the configuration, tokens and drivers`,
          },
        ]),
  ];
}

/** What lies below the root, or asks for the initrd, and is in no text that tells an image what to open. */
function unnamedIn(text: string, { volumes, root }: WhatToOpen): readonly VolumeFacts[] {
  // Opens whatever LUKS there is, dracut.cmdline(7).
  if (/(?:^|\s)rd\.auto(?:=1)?(?:\s|$)/.test(text)) return [];
  return volumes.filter(({ volume, found }) => {
    // What latchkey.toml names is in the image with it; what the kernel command line names needs no image.
    if (volume.luks?.isNamedBySystem !== true || !volume.origin.file.endsWith("/crypttab")) return false;
    const devices = "value" in found ? found.value.devices : [];
    const isBelowRoot = devices.some((path) => root?.devices.has(basename(path)) === true);
    if (volume.luks.isWantedInInitrd !== true && !isBelowRoot) return false;
    const uuid = "value" in found ? found.value.uuid : "";
    const names = text.split("\n").map((line) => line.trim().split(/\s+/, 1)[0]);
    return !names.includes(volume.name) && (uuid === "" || !text.includes(uuid));
  });
}

function judgeTime(
  about: Pick<Finding, "about" | "of">,
  image: string,
  { why, newer }: { readonly why: string; readonly newer: readonly string[] },
): readonly Finding[] {
  const unseen: Finding = {
    ...about,
    severity: "warning",
    text: `${image}: was not looked into (${why}): only its age was compared`,
  };
  const [first, ...others] = newer;
  if (first === undefined) return [unseen];
  const more = others.length === 0 ? "" : ` and ${others.length} more`;
  return [unseen, { ...about, severity: "problem", text: `${image}: older than ${first}${more}`, hint: INSTALL }];
}
