import { suggestion } from "./nearest.ts";
import { quoted } from "./parsed.ts";
import type { VolumeKind } from "./plan.ts";

/** Which kinds this version opens. A provider that joins turns its entry to true. */
const opensKind: Readonly<Record<VolumeKind, boolean>> = { bcachefs: true, luks: true, zfs: false, zerofs: false };

export type ReadKind =
  | { readonly kind: VolumeKind }
  /** A kind of latchkey's that this version does not open: the system does. */
  | { readonly later: VolumeKind; readonly problem: string }
  | { readonly problem: string };

export function readKind(text: string): ReadKind {
  const kinds = Object.keys(opensKind) as readonly VolumeKind[];
  const kind = kinds.find((known) => known === text);
  if (kind === undefined) {
    return { problem: `no such kind ${quoted(text)}${suggestion(text, kinds)}: known are ${kinds.join(", ")}` };
  }
  return opensKind[kind]
    ? { kind }
    : { later: kind, problem: `this version of latchkey does not open ${kind} volumes` };
}
