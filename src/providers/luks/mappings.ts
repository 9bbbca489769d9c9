import { readdir, readFile } from "node:fs/promises";

/** A device-mapper device that is active. */
export interface Mapping {
  /** Below /dev/mapper. */
  readonly name: string;
  /** device-mapper's own identity: `CRYPT-LUKS2-…`, `LVM-…`; empty where whoever made it gave none. */
  readonly uuid: string;
}

/** The mappings there are now, as sysfs shows them (Documentation/ABI/testing/sysfs-block-dm). */
export class SystemMappings {
  readonly #sys: string;

  constructor(sys = "/sys") {
    this.#sys = sys;
  }

  async list(): Promise<readonly Mapping[]> {
    const folder = `${this.#sys}/block`;
    const names = await readdir(folder).catch(() => []);
    const mappings = await Promise.all(
      names
        .filter((name) => name.startsWith("dm-"))
        .map(async (name) => ({
          name: await textOf(`${folder}/${name}/dm/name`),
          uuid: await textOf(`${folder}/${name}/dm/uuid`),
          // It is made in steps: first the name, then a table, which gives it a size, then it goes live.
          isLive:
            (await textOf(`${folder}/${name}/size`)) !== "0" &&
            (await textOf(`${folder}/${name}/dm/suspended`)) !== "1",
        })),
    );
    return mappings.filter(({ isLive }) => isLive).map(({ name, uuid }) => ({ name, uuid }));
  }

  /** The name of the active mapping of the volume with this LUKS UUID, whatever it is called. */
  async find(uuid: string): Promise<string | undefined> {
    return (await this.list()).find((mapping) => isMappingOf(mapping, uuid))?.name;
  }
}

/** dm_prepare_uuid() of cryptsetup's lib/libdevmapper.c: `CRYPT-`, type, UUID without hyphens, name. */
export function isMappingOf(mapping: Mapping, uuid: string): boolean {
  return new RegExp(`^CRYPT-LUKS[12]-${uuid.replaceAll("-", "")}-`).test(mapping.uuid);
}

async function textOf(path: string): Promise<string> {
  return (await readFile(path, "utf8").catch(() => "")).trim();
}
