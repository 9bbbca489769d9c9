/** How udev names devices below /dev/disk, in one place for whoever writes such a name and whoever looks for it. */

/** Tags that udev makes links for under /dev/disk/by-*; spelled as in fstab(5). */
export type DeviceTag = "UUID" | "LABEL" | "PARTUUID" | "PARTLABEL" | "ID";

/** A device as its owner names it. */
export type DeviceReference =
  | { readonly by: "path"; readonly path: string }
  | { readonly by: "tag"; readonly tag: DeviceTag; readonly value: string };

/** The folder of links below /dev/disk for each tag. */
export const linkFolders: Readonly<Record<DeviceTag, string>> = {
  UUID: "by-uuid",
  LABEL: "by-label",
  PARTUUID: "by-partuuid",
  PARTLABEL: "by-partlabel",
  ID: "by-id",
};

/**
 * Names of links under /dev/disk, as udev writes them: ASCII letters, digits and `#+-.:=@_` stay, other ASCII becomes `\xNN`,
 * whole UTF-8 characters stay (encode_devnode_name() of systemd's src/shared/device-nodes.c).
 */
export function encodeDeviceName(text: string): string {
  return text.replace(/[^A-Za-z0-9#+\-.:=@_\u0080-\u{10ffff}]/gu, (character) => {
    return `\\x${(character.codePointAt(0) ?? 0).toString(16).padStart(2, "0")}`;
  });
}

/** The text behind a link's name; undefined when udev would not have written that name. */
export function decodeDeviceName(name: string): string | undefined {
  const text = name.replace(/\\x([0-7][0-9a-f])/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
  return encodeDeviceName(text) === name ? text : undefined;
}
