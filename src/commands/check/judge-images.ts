import type { Gathered, ImageFacts, KernelImage } from "./facts.ts";
import type { Finding } from "./findings.ts";

const INSTALL = "run `latchkey install`";

/** Do the initrds that this machine boots have what is installed and configured now? */
export function judgeImages(images: Gathered<ImageFacts> | undefined): readonly Finding[] {
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
  return found.flatMap(judgeImage);
}

function judgeImage({ kernel, image, content }: KernelImage): readonly Finding[] {
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
  return [
    ...failures.map(
      ({ text }): Finding => ({ ...about, severity: "problem", text: `${image}: ${text}`, hint: INSTALL }),
    ),
    ...notes.map(({ text }): Finding => ({ ...about, severity: "warning", text: `${image}: ${text}` })),
    ...(failures.length > 0
      ? []
      : [{ ...about, severity: "ok" as const, text: `${image}: has this program, configuration and tokens` }]),
  ];
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
