# What the module needs beyond nixpkgs' lib: device names, names of volumes, and TOML. Pure functions, no packages.
{ lib }:
let
  inherit (lib)
    concatLists
    concatMapStrings
    concatStringsSep
    filter
    filterAttrs
    hasPrefix
    isAttrs
    isList
    mapAttrsToList
    removePrefix
    stringToCharacters
    ;

  # Folders below /dev/disk for the tags of fstab(5); the same table as in src/system/device-names.ts.
  tagFolders = {
    UUID = "by-uuid";
    LABEL = "by-label";
    PARTUUID = "by-partuuid";
    PARTLABEL = "by-partlabel";
    ID = "by-id";
  };

  # udev writes other ASCII characters as \xNN (encode_devnode_name() of systemd's src/shared/device-nodes.c). What is
  # not ASCII stays, and so does what is not in this table.
  udevEscapes = {
    " " = "20";
    "!" = "21";
    "\"" = "22";
    "$" = "24";
    "%" = "25";
    "&" = "26";
    "'" = "27";
    "(" = "28";
    ")" = "29";
    "*" = "2a";
    "," = "2c";
    "/" = "2f";
    ";" = "3b";
    "<" = "3c";
    ">" = "3e";
    "?" = "3f";
    "[" = "5b";
    "\\" = "5c";
    "]" = "5d";
    "^" = "5e";
    "`" = "60";
    "{" = "7b";
    "|" = "7c";
    "}" = "7d";
    "~" = "7e";
  };
  udevName =
    text:
    concatMapStrings (c: if udevEscapes ? ${c} then "\\x${udevEscapes.${c}}" else c) (stringToCharacters text);

  # LABEL="my disk" is how blkid prints it.
  unquoted = text: lib.removeSuffix "\"" (removePrefix "\"" text);

  # udev writes UUIDs of 36 characters in lower case; FAT's short ones are upper case.
  valueFor =
    tag: value:
    if lib.elem tag [ "UUID" "PARTUUID" ] && builtins.stringLength value == 36 then lib.toLower value else value;

  # Keys that TOML takes without quotes; every other one is written as a string, which JSON and TOML spell alike.
  tomlKey = key: if builtins.match "[A-Za-z0-9_-]+" key != null then key else builtins.toJSON key;
  tomlValue =
    value:
    if isList value then
      "[${concatStringsSep ", " (map tomlValue value)}]"
    else if isAttrs value then
      "{ ${concatStringsSep ", " (mapAttrsToList (k: v: "${tomlKey k} = ${tomlValue v}") value)} }"
    else
      builtins.toJSON value;
  tomlTable =
    path: table:
    let
      plain = filterAttrs (_: value: !isAttrs value) table;
      nested = filterAttrs (_: isAttrs) table;
      lines = mapAttrsToList (key: value: "${tomlKey key} = ${tomlValue value}\n") plain;
      title = "\n[${concatStringsSep "." (map tomlKey path)}]\n";
      head = if path == [ ] || (lines == [ ] && nested != { }) then [ ] else [ title ];
    in
    head ++ lines ++ concatLists (mapAttrsToList (key: tomlTable (path ++ [ key ])) nested);
in
rec {
  # What switches latchkey off on the kernel command line, as in latchkey.service of the dracut image; the program takes them in
  # capitals, too.
  offSwitches = map (word: "rd.latchkey=${word}") [
    "0"
    "n"
    "no"
    "f"
    "false"
    "off"
  ];

  # Where udev has the device that a tag names. `UUID=`, `LABEL="my disk"` and /dev/disk/by-uuid/… of one device give one
  # path, so that units, files and comparisons all use one name for it.
  devicePath =
    device:
    let
      found = filter (tag: hasPrefix "${tag}=" device) (builtins.attrNames tagFolders);
      tag = builtins.head found;
      value = valueFor tag (unquoted (removePrefix "${tag}=" device));
      uuidFolder = "/dev/disk/by-uuid/";
    in
    if found != [ ] then
      "/dev/disk/${tagFolders.${tag}}/${udevName value}"
    else if hasPrefix uuidFolder device then
      uuidFolder + valueFor "UUID" (removePrefix uuidFolder device)
    else
      device;

  # The members of a bcachefs as fileSystems has them, joined by colons. A by-path link has colons of its own, which a
  # mount cannot tell from those (nixpkgs#49671), so nobody can use one here.
  members = device: filter (part: part != "") (lib.splitString ":" device);

  # latchkey's own name for what it finds in fstab: `/` is root, `/var/log` is var-log (src/config/volume-name.ts).
  volumeName =
    mountPoint:
    let
      parts = filter (part: builtins.isString part && part != "") (builtins.split "[^A-Za-z0-9._]+" mountPoint);
      name = builtins.substring 0 60 (concatStringsSep "-" parts);
    in
    if name == "" || name == "." || name == ".." then "root" else name;

  isVolumeName = name: builtins.stringLength name <= 64 && builtins.match "[A-Za-z0-9._][A-Za-z0-9._-]*" name != null;

  # Nested sets become tables, lists of sets become inline tables. null is left out.
  toTOML = settings: removePrefix "\n" (concatStringsSep "" (tomlTable [ ] (withoutNull settings)));

  withoutNull =
    value:
    if isAttrs value then
      builtins.mapAttrs (_: withoutNull) (filterAttrs (_: inner: inner != null) value)
    else if isList value then
      map withoutNull value
    else
      value;
}
