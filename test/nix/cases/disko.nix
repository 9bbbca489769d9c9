{
  lib,
  equal,
  ...
}:
let
  examples = lib.mapAttrs (_: file: (import file).disko.devices) (import ../../../nix/disko);
  partitions = example: lib.concatMap (disk: lib.attrValues disk.content.partitions) (lib.attrValues example.disk);
  contents = type: example: lib.filter (content: content.type == type) (map (partition: partition.content) (partitions example));
  all = f: lib.mapAttrs (_: f) examples;
  always = value: lib.mapAttrs (_: _: value) examples;
  filesystems = example: lib.attrValues (example.bcachefs_filesystems or { });
  uuids = lib.concatMap (example: map (fs: fs.uuid or "none") (filesystems example)) (lib.attrValues examples);
  none = lib.filter (bad: bad);
in
{
  "there are four" = equal (lib.attrNames examples) [
    "impermanence"
    "luks-pool"
    "single-disk"
    "two-disks"
  ];
  "each has a system partition of 1 GB that only root can read" = equal (all (
    example:
    map (partition: [
      partition.size
      partition.content.mountOptions
    ]) (lib.filter (partition: partition.type or "" == "EF00") (partitions example))
  )) (always [ [ "1G" [ "umask=0077" ] ] ]);
  "each file system has a UUID of its own, of full length" = equal [
    (map builtins.stringLength uuids)
    (lib.length (lib.unique uuids))
  ] [ [ 36 36 36 ] 3 ];
  "each member has a label, without which formatting fails" = equal (all (
    example: none (map (content: content.label or "" == "") (contents "bcachefs" example))
  )) (always [ ]);
  "each member belongs to a file system that there is" = equal (all (
    example:
    none (map (content: !(example.bcachefs_filesystems ? ${content.filesystem})) (contents "bcachefs" example))
  )) (always [ ]);
  "options of a device stand at the device, or they come too late" = equal (all (
    example: lib.filter (option: lib.elem option [ "--discard" "--label" ]) (lib.concatMap (fs: fs.extraFormatArgs or [ ]) (filesystems example))
  )) (always [ ]);
  "everything is locked with the one file" = equal (all (
    example: lib.unique (map (one: one.passwordFile) (filesystems example ++ contents "luks" example))
  )) (always [ "/tmp/passphrase" ]);
  "no key goes into the configuration" = equal (all (
    example: none (map (content: content ? settings.keyFile || content ? keyFile) (contents "luks" example))
  )) (always [ ]);
  "impermanence has the five subvolumes" = equal (lib.mapAttrs (_: subvolume: subvolume.mountpoint)
    examples.impermanence.bcachefs_filesystems.root.subvolumes
  ) {
    root = "/";
    home = "/home";
    nix = "/nix";
    persist = "/persist";
    log = "/var/log";
  };
  "impermanence makes the blank snapshot that the module looks for" = equal (
    lib.hasInfix "snapshot --read-only \"$top/root\" \"$top/blank\"" examples.impermanence.bcachefs_filesystems.root.postCreateHook
  ) true;
  "the LUKS pool has two members" = equal (map (content: content.name) (contents "luks" examples.luks-pool)) [
    "crypt1"
    "crypt2"
  ];
}
