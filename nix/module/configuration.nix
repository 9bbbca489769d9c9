# latchkey.toml, once for the initrd and once for the running system: the same options, but in the initrd a token lies at the
# place where the boot loader's secrets are copied to, and what is opened later is none of the initrd's business.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    elem
    filterAttrs
    mapAttrs
    mapAttrs'
    nameValuePair
    optionalAttrs
    recursiveUpdate
    ;
  inherit (import ../lib.nix { inherit lib; }) toTOML withoutNull;

  cfg = config.boot.initrd.latchkey;
  inherit (cfg) resolved;

  tokenInInitrd = name: "/etc/latchkey/${name}.jwe";
  keyInInitrd = name: "/etc/latchkey/${name}.key";

  volumeTable =
    place: name: volume:
    recursiveUpdate (
      {
        inherit (volume) kind sources;
        device = if lib.length volume.devices == 1 then lib.head volume.devices else volume.devices;
      }
      // optionalAttrs (elem "clevis" volume.sources) {
        clevis = withoutNull {
          token =
            if volume.clevis.token == null then
              null
            else if place == "initrd" then
              tokenInInitrd name
            else
              volume.clevis.token;
          inherit (volume.clevis) timeout;
          ca = if volume.clevis.ca == null then null else "${volume.clevis.ca}";
        };
      }
      // optionalAttrs (elem "usb" volume.sources && volume.usb != [ ]) {
        usb = map (
          stick:
          withoutNull {
            inherit (stick)
              uuid
              path
              sha256
              format
              timeout
              ;
            any_bus = if stick.anyBus then true else null;
          }
        ) volume.usb;
      }
      // optionalAttrs (elem "keyfile" volume.sources && volume.keyFile != null) {
        keyfile.path = if place == "initrd" then keyInInitrd name else volume.keyFile;
      }
    ) volume.settings;

  settingsFor =
    place: volumes: pools:
    recursiveUpdate (filterAttrs (_: value: value != { }) (withoutNull {
      prompt_after = cfg.promptAfter;
      device_timeout = cfg.deviceTimeout;
      member_timeout = cfg.memberTimeout;
      inherit (cfg) tpm;
      # The program refuses kinds that it cannot open yet, and this file is to be without mistakes.
      volumes = mapAttrs (volumeTable place) (filterAttrs (_: volume: volume.kind != "zfs") volumes);
      pools = mapAttrs (_: pool: { inherit (pool) volumes; }) pools;
      remote =
        if cfg.remote.enable then
          {
            inherit (cfg.remote) start;
            inherit (config.boot.initrd.network.ssh) port;
          }
        else
          null;
      policy = {
        require_encrypted = cfg.policy.requireEncrypted;
        allow_degraded = if cfg.policy.allowDegraded then true else null;
        seal_pcr_after_unlock = cfg.policy.sealPcrAfterUnlock;
      };
    })) cfg.settings;

  initrdToml = toTOML (settingsFor "initrd" resolved.inInitrd (resolved.poolsIn "initrd"));
  systemToml = toTOML (settingsFor "system" resolved.volumes cfg.pools);

  # Read by the program itself while the system is built: a mistake in `settings` stops there and not at a dead prompt.
  checked =
    text:
    let
      file = pkgs.writeText "latchkey.toml" text;
      runsHere = pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform;
    in
    if runsHere then
      pkgs.runCommand "latchkey.toml" { inherit file; } ''
        # A plan is made of the file, for a device of no kind, and thrown away.
        ${cfg.package}/bin/latchkey unlock --dry-run --config $file /dev/null > plan || {
          cat $file >&2
          exit 1
        }
        cp $file $out
      ''
    else
      file;

  withToken = filterAttrs (_: volume: elem "clevis" volume.sources && volume.clevis.token != null) resolved.inInitrd;
  withKeyFile = filterAttrs (_: volume: elem "keyfile" volume.sources && volume.keyFile != null) resolved.inInitrd;
in
{
  config = lib.mkIf cfg.enable {
    boot.initrd.systemd.contents."/etc/latchkey/latchkey.toml".source = checked initrdToml;

    # Copied when the boot loader is installed, from the running system: the store never sees them.
    boot.initrd.secrets =
      mapAttrs' (name: volume: nameValuePair (tokenInInitrd name) volume.clevis.token) withToken
      // mapAttrs' (name: volume: nameValuePair (keyInInitrd name) volume.keyFile) withKeyFile;

    # Certificates are no secrets; what the configuration names must be in the image.
    boot.initrd.systemd.storePaths = lib.concatMap (
      volume: lib.optional (volume.clevis.ca != null) "${volume.clevis.ca}"
    ) (lib.attrValues resolved.inInitrd);

    environment.etc."latchkey/latchkey.toml".source = checked systemToml;
    environment.systemPackages = [ cfg.package ];
  };
}
