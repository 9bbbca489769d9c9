import type { Files } from "../vm/files.ts";
import { evaluate } from "./evaluate.ts";

/** What initrd-of.nix gives. */
interface ModuleFiles {
  readonly failed: readonly string[];
  /** Unit files by name; what the units want is in `links`, the text of `<script>` in `scripts`. */
  readonly units: Readonly<Record<string, string>>;
  readonly scripts: Readonly<Record<string, string>>;
  /** `sysroot.mount.wants/x.service` */
  readonly links: readonly string[];
  readonly masked: readonly string[];
  /** By their path in the image. */
  readonly contents: Readonly<Record<string, string>>;
  /** By their path in a package. */
  readonly dropIns: Readonly<Record<string, string>>;
  readonly configuration: string;
  readonly fstab: string;
}

const UNITS = "/etc/systemd/system";
const SCRIPTS = "/usr/lib/nixos-scripts";
const FSTAB = "/etc/initrd-fstab";
const STORE = "/nix/store/00000000000000000000000000000000-";

/** dracut's hooks have no place in a NixOS initrd. */
const dracutUnits = [
  ...["cmdline", "cmdline-ask", "pre-udev", "pre-trigger", "initqueue", "pre-mount", "mount", "pre-pivot"].map(
    (phase) => `dracut-${phase}.service`,
  ),
  "latchkey-fallback.service",
];

/**
 * The files of the evaluated module for an initrd without a store: programs at their usual places, `script`s as NixOS runs them, units
 * as files with the links that NixOS makes of wantedBy.
 */
export function initrdOfModule({ program }: { readonly program: string }): Files {
  const module = evaluate("initrd-of.nix") as ModuleFiles;
  if (module.failed.length > 0) throw new Error(`the configuration is refused: ${module.failed.join("; ")}`);
  const files: Record<string, Files[string]> = {
    "/etc/latchkey/latchkey.toml": module.configuration,
    [FSTAB]: module.fstab,
    // As NixOS tells systemd, and the unit that looks again once the root is there.
    "/etc/systemd/system.conf.d/nixos.conf": `[Manager]\nManagerEnvironment=SYSTEMD_SYSROOT_FSTAB=${FSTAB}\n`,
    [`${UNITS}/initrd-parse-etc.service.d/nixos.conf`]: `[Service]\nEnvironment=SYSTEMD_SYSROOT_FSTAB=${FSTAB}\n`,
  };
  for (const [name, text] of Object.entries(module.units)) {
    files[`${UNITS}/${name}`] = mapped(text, name, program);
  }
  for (const [name, text] of Object.entries(module.scripts)) {
    files[scriptPath(name)] = { content: `#!/bin/sh -e\n${text}`, mode: 0o755 };
  }
  for (const [path, text] of Object.entries(module.contents)) files[path] = { content: text, mode: 0o755 };
  for (const link of module.links) files[`${UNITS}/${link}`] = { link: `${UNITS}/${link.split("/").at(-1) ?? ""}` };
  for (const [path, text] of Object.entries(module.dropIns)) {
    files[path.replace("lib/systemd/system", UNITS)] = text;
  }
  for (const name of [...module.masked, ...dracutUnits]) files[`${UNITS}/${name}`] = { link: "/dev/null" };
  return files;
}

/** systemd takes an escape in ExecStart= for the character, so the path has none. */
function scriptPath(unit: string): string {
  return `${SCRIPTS}/${unit.replace(/\.service$/, "").replaceAll("\\", "-")}`;
}

function mapped(text: string, unit: string, program: string): string {
  return text
    .replaceAll("<script>", scriptPath(unit))
    .replaceAll(`${STORE}latchkey/bin/latchkey`, program)
    .replaceAll(`${STORE}initrd-fstab`, FSTAB);
}
