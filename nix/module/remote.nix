# Answers over SSH. The server is the stock one of boot.initrd.network.ssh, with its keys; what a session may do is ours.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.boot.initrd.latchkey;
in
{
  config = lib.mkIf (cfg.enable && cfg.remote.enable) {
    # What latchkey looks for in an image that takes answers from afar: what to say on the console, and how to bring the server up.
    # It runs already here; the second question, after a crash, calls this as well.
    boot.initrd.systemd.contents = {
      "/usr/lib/latchkey/remote.json".text = builtins.toJSON {
        server = "openssh";
        inherit (config.boot.initrd.network.ssh) port;
        # Made on the machine, so unknown while the system is built.
        fingerprints = [ ];
      };
      "/usr/lib/latchkey/remote-start".source = pkgs.writeScript "latchkey-remote-start" ''
        #!/bin/sh
        exec systemctl --no-block start sshd.service
      '';
    };

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
