# Declarations for the part of NixOS's option tree that nix/ touches. The types follow the documented ones closely enough that a
# wrong type, a misspelt option and a clash of two definitions fail as they would on a real system. What an option is called
# was looked up in nixpkgs; a stand-in cannot tell when nixpkgs renames one.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  inherit (lib) mkOption types;
  opt = type: default: mkOption { inherit type default; };
  must = type: mkOption { inherit type; };

  unitName = types.strMatching "[a-zA-Z0-9@%:_.\\-]+[.](service|socket|device|mount|automount|swap|target|path|timer|scope|slice)";

  # A unit setting: scalars must agree between definitions, lists join.
  scalar = types.oneOf [
    types.bool
    types.int
    types.str
    types.path
    types.package
  ];
  setting = types.either scalar (types.listOf scalar);

  # Type= and Restart= are checked by name, as on a real system.
  oneOfNames = names: value: !(builtins.isString value) || lib.elem value names;
  knownService =
    settings:
    oneOfNames [
      "exec"
      "simple"
      "forking"
      "oneshot"
      "dbus"
      "notify"
      "notify-reload"
      "idle"
    ] (settings.Type or null)
    && oneOfNames [
      "no"
      "on-success"
      "on-failure"
      "on-abnormal"
      "on-watchdog"
      "on-abort"
      "always"
    ] (settings.Restart or null);

  relations = [
    "after"
    "before"
    "requires"
    "wants"
    "bindsTo"
    "partOf"
    "conflicts"
    "requisite"
    "onFailure"
    "onSuccess"
    "wantedBy"
    "requiredBy"
  ];
  unit = lib.genAttrs relations (_: opt (types.listOf unitName) [ ]) // {
    enable = opt types.bool true;
    description = opt types.str "";
    documentation = opt (types.listOf types.str) [ ];
    unitConfig = opt (types.attrsOf setting) { };
  };
  unitWith = more: types.submodule { options = unit // more; };
  units = {
    services = opt (types.attrsOf (unitWith {
      serviceConfig = opt (types.addCheck (types.attrsOf setting) knownService) { };
      environment = opt (types.attrsOf (
        types.nullOr (
          types.oneOf [
            types.str
            types.path
            types.package
          ]
        )
      )) { };
      script = opt types.lines "";
    })) { };
    targets = opt (types.attrsOf (unitWith { })) { };
    sockets = opt (types.attrsOf (unitWith { socketConfig = opt (types.attrsOf setting) { }; })) { };
    paths = opt (types.attrsOf (unitWith { pathConfig = opt (types.attrsOf setting) { }; })) { };
    packages = opt (types.listOf types.package) [ ];
  };

  file = types.submodule (
    { name, ... }:
    {
      options = {
        target = opt (types.nullOr types.path) name;
        text = opt (types.nullOr types.lines) null;
        source = opt (types.nullOr types.path) null;
        mode = opt types.str "symlink";
      };
    }
  );
  storePath = types.coercedTo (types.either types.str types.package) (path: { source = toString path; }) (
    types.submodule { options.source = must types.str; }
  );
  fileSystem = types.submodule (
    { name, config, ... }:
    {
      config.options = lib.mkIf (utils.fsNeededForBoot config) [ "x-initrd.mount" ];
      options = {
        mountPoint = opt types.str name;
        device = opt (types.nullOr types.str) null;
        fsType = opt types.str "auto";
        options = opt (types.listOf types.str) [ "defaults" ];
        neededForBoot = opt types.bool false;
      };
    }
  );
in
{
  options = {
    assertions = opt (types.listOf types.anything) [ ];
    warnings = opt (types.listOf types.str) [ ];
    fileSystems = opt (types.attrsOf fileSystem) { };
    environment.systemPackages = opt (types.listOf types.package) [ ];
    environment.etc = opt (types.attrsOf file) { };
    virtualisation = opt types.anything { };
    system.build = opt types.anything { };
    systemd = units;

    boot = {
      kernelPackages = opt types.anything pkgs.linuxPackages;
      kernelParams = opt (types.listOf types.str) [ ];
      supportedFilesystems.bcachefs = opt types.bool false;
      bcachefs.package = opt types.package pkgs.bcachefs-tools;
      loader = {
        supportsInitrdSecrets = opt types.bool false;
        systemd-boot.enable = opt types.bool false;
        timeout = opt (types.nullOr types.int) 5;
      };
      initrd = {
        availableKernelModules = opt (types.listOf types.str) [ ];
        secrets = opt (types.attrsOf (types.nullOr (types.either types.path types.str))) { };
        luks.devices = opt (types.attrsOf (
          types.submodule {
            options = {
              device = must types.str;
              keyFile = opt (types.nullOr types.str) null;
              crypttabExtraOpts = opt (types.listOf types.str) [ ];
            };
          }
        )) { };
        clevis = {
          enable = opt types.bool false;
          devices = opt (types.attrsOf (types.submodule { options.secretFile = must types.path; })) { };
        };
        network = {
          enable = opt types.bool false;
          ssh = {
            enable = opt types.bool false;
            port = opt types.port 22;
            hostKeys = opt (types.listOf (types.either types.str types.path)) [ ];
            ignoreEmptyHostKeys = opt types.bool false;
            authorizedKeys = opt (types.listOf types.str) [ ];
            extraConfig = opt types.lines "";
          };
        };
        services.udev.rules = opt types.lines "";
        systemd = units // {
          enable = opt types.bool true;
          # Gone from newer releases, where defining it is an error; here it shows whether it was touched.
          strip = opt (types.either types.bool types.str) "untouched";
          extraBin = opt (types.attrsOf types.path) { };
          storePaths = opt (types.listOf storePath) [ ];
          contents = opt (types.attrsOf file) { };
          managerEnvironment = opt (types.attrsOf (types.nullOr (types.either types.str types.package))) { };
          users = opt (types.attrsOf types.anything) { };
          network.enable = opt types.bool config.boot.initrd.network.enable;
          network.networks = opt types.anything { };
        };
      };
    };
  };

  config._module.args = { inherit utils; };

  # As nixpkgs' nixos/modules/tasks/filesystems.nix has it since systemd is the default of the initrd.
  config.boot.initrd.systemd.managerEnvironment.SYSTEMD_SYSROOT_FSTAB = pkgs.writeText "initrd-fstab" (
    lib.concatMapStrings (
      fs: "${toString fs.device} ${fs.mountPoint} ${fs.fsType} ${lib.concatStringsSep "," fs.options} 0 0\n"
    ) (lib.filter utils.fsNeededForBoot (lib.attrValues config.fileSystems))
  );
}
