import type { CarriedFile } from "./carried-file.ts";

/** One thing an installation does. The plan that is shown and the plan that is carried out are the same list. */
export type Step =
  | { readonly do: "copy-program"; readonly from: string; readonly to: string; readonly replaces: string | undefined }
  | { readonly do: "write"; readonly file: CarriedFile; readonly replaces: boolean }
  | { readonly do: "nothing"; readonly why: string }
  | { readonly do: "remove"; readonly path: string }
  | { readonly do: "remove-folder"; readonly path: string }
  | ImageStep;

export interface ImageStep {
  readonly do: "image";
  readonly kernel: string;
  readonly image: string;
  /** Must latchkey be in it, or must it not? */
  readonly latchkey: boolean;
  /** Keep what is in its place now under another name, if it is from before latchkey. */
  readonly keepOld: boolean;
}

/** The step as one line for a person. */
export function describeStep(step: Step): string {
  switch (step.do) {
    case "copy-program":
      return `copy ${step.from} to ${step.to}${step.replaces === undefined ? "" : ` (now: ${step.replaces})`}`;
    case "write":
      return `${step.replaces ? "update" : "write"} ${step.file.path}`;
    case "nothing":
      return step.why;
    case "remove":
      return `remove ${step.path}`;
    case "remove-folder":
      return `remove ${step.path} if it is empty`;
    case "image":
      return `build an image ${step.latchkey ? "with" : "without"} latchkey for kernel ${step.kernel}, audit it, and put it in place of ${step.image}`;
  }
}
