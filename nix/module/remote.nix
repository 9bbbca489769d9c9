# Answers over SSH. The server is the stock one of boot.initrd.network.ssh, with its keys; what a session may do is ours.
{ config, lib, ... }:
let
  cfg = config.boot.initrd.latchkey;
in
{
  config = lib.mkIf (cfg.enable && cfg.remote.enable) {
    boot.initrd.network.ssh = {
      enable = lib.mkDefault true;
      # First in the file: after a Match block of the owner's this would be about that block alone. By this and not by root's
      # login shell, since sulogin starts that for the emergency shell.
      extraConfig = lib.mkIf cfg.remote.restrict (
        lib.mkBefore ''
          ForceCommand ${cfg.package}/bin/latchkey answer
          DisableForwarding yes
          PermitUserRC no
          PermitUserEnvironment no
        ''
      );
    };
  };
}
