# Evaluates NixOS modules against the pretend option tree: no store, no network, no nixpkgs.
#
#   import ./eval.nix { libPath = …; } { modules = [ … ]; }
#
# libPath is the folder of a lib/default.nix: ./pretend/lib.nix, or nixpkgs' own. The result has config, options, rendered
# units by name, drop-ins by path, the messages of failed assertions, and warnings.
{
  libPath,
  system ? "x86_64-linux",
  # Instead of what the library says of itself: which release the modules think they are in.
  version ? null,
}:
let
  real = import libPath;
  lib = if version == null then real else real // { inherit version; };
  pkgs = import ./pretend/pkgs.nix { inherit lib system; };
  utils = import ./pretend/utils.nix { inherit lib; };
  render = import ./render.nix { inherit lib; };
  texts =
    stage:
    let
      named = suffix: write: units: lib.mapAttrs' (name: unit: lib.nameValuePair "${name}.${suffix}" (write unit)) units;
    in
    named "service" render.service (lib.filterAttrs (_: unit: unit.enable) stage.services)
    // named "target" render.target stage.targets
    // named "socket" render.socket stage.sockets
    // named "path" render.path stage.paths;
  files = package: if package ? paths then lib.concatMap files package.paths else [ package ];
in
{ modules }:
let
  evaluated = lib.evalModules {
    specialArgs = { inherit lib pkgs utils; };
    modules = [ ./pretend/options.nix ] ++ modules;
  };
  inherit (evaluated) config;
  initrd = config.boot.initrd.systemd;
in
{
  inherit lib pkgs config;
  inherit (evaluated) options;
  inherit (config) warnings;
  initrdUnits = texts initrd;
  systemUnits = texts config.systemd;
  masked = lib.attrNames (lib.filterAttrs (_: unit: !unit.enable) initrd.services);
  maskedInSystem = lib.attrNames (lib.filterAttrs (_: unit: !unit.enable) config.systemd.services);
  udevRules = config.boot.initrd.services.udev.rules;
  dropIns = lib.listToAttrs (
    map (file: lib.nameValuePair file.destination file.text) (lib.concatMap files initrd.packages)
  );
  # In nixpkgs each definition is forced when the system is built; here a check asks for it.
  failed = map (one: one.message) (lib.filter (one: !one.assertion) config.assertions);
}
