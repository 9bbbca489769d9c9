import { parseFstab } from "../config/fstab.ts";
import type { Files } from "./files.ts";

const FSTAB = "/etc/fstab";
const UNITS = "/etc/systemd/system";
/** A unit of a volume, latchkey@.service with its name. */
const OUR_UNIT = /^latchkey@.+\.service$/;

/**
 * What wants a volume's unit in the booted system, in words: mounts of fstab (systemd.mount(5), x-systemd.requires=), whose boot ends
 * in the emergency shell when there is no such unit, and units that were enabled.
 */
export function unitUsers(files: Files): readonly string[] {
  return [...mounts(files), ...enabled(files)];
}

function mounts(files: Files): readonly string[] {
  return parseFstab(files.readText(FSTAB) ?? "", FSTAB).entries.flatMap(({ mountPoint, options }) =>
    options.flatMap((option) => {
      const [, unit = ""] = /^x-systemd\.requires="?([^"]*)"?$/.exec(option) ?? [];
      return OUR_UNIT.test(unit) ? [`${unit} for ${mountPoint} in ${FSTAB}`] : [];
    }),
  );
}

/** What `systemctl enable` or add-requires left, systemd.unit(5). */
function enabled(files: Files): readonly string[] {
  return files
    .list(UNITS)
    .filter((name) => /\.(?:wants|requires|upholds)$/.test(name))
    .flatMap((name) =>
      files
        .list(`${UNITS}/${name}`)
        .filter((unit) => OUR_UNIT.test(unit))
        .map((unit) => `${unit} in ${UNITS}/${name}`),
    );
}
