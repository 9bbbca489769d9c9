# The files that the module adds to an initrd, for a configuration: what test/vm/nixos-units.vm.ts boots.
{
  libPath,
  configuration ? ./booted-machine.nix,
}:
let
  lib = import libPath;
  evaluated = import ./eval.nix { inherit libPath; } {
    modules = [
      ../../nix/module.nix
      configuration
    ];
  };
  initrd = evaluated.config.boot.initrd.systemd;
  linksOf =
    suffix: from: units:
    lib.concatLists (
      lib.mapAttrsToList (
        name: unit: map (wanting: "${wanting}.${suffix}/${name}") unit.${from}
      ) units
    );
  named = ending: units: lib.mapAttrs' (name: lib.nameValuePair "${name}.${ending}") units;
  enabled = named "service" (lib.filterAttrs (_: unit: unit.enable) initrd.services) // named "target" initrd.targets;
in
{
  inherit (evaluated) failed dropIns;
  units = evaluated.initrdUnits;
  # What NixOS makes of `script`: a program of its own.
  scripts = lib.mapAttrs (_: unit: unit.script) (lib.filterAttrs (_: unit: unit.enable && unit.script != "") initrd.services);
  links = linksOf "wants" "wantedBy" enabled ++ linksOf "requires" "requiredBy" enabled;
  # Programs and files at fixed places.
  contents = lib.mapAttrs (_: file: if file.text != null then file.text else file.source.text) (
    lib.filterAttrs (path: _: lib.hasPrefix "/usr/lib/latchkey/" path) initrd.contents
  );
  masked = map (name: "${name}.service") evaluated.masked;
  configuration = initrd.contents."/etc/latchkey/latchkey.toml".source.env.file.text;
  fstab = initrd.managerEnvironment.SYSTEMD_SYSROOT_FSTAB.text;
}
