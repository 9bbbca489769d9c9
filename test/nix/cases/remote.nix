{
  lib,
  withRoot,
  withOptions,
  equal,
  has,
  fine,
  refusedWith,
  ...
}:
let
  keys = {
    boot.initrd.network.ssh.hostKeys = [ "/etc/initrd/ssh_host_ed25519_key" ];
    boot.initrd.network.ssh.authorizedKeys = [ "ssh-ed25519 AAAA" ];
  };
  remote =
    extra:
    withRoot [
      keys
      {
        boot.initrd.latchkey.remote.enable = true;
        boot.initrd.latchkey.volumes.root = { };
      }
      extra
    ];
  plain = remote { };
  ssh = evaluated: evaluated.config.boot.initrd.network.ssh;
in
{
  "answers over SSH are fine" = fine plain;
  "they turn the server and the network on" = equal [
    (ssh plain).enable
    plain.config.boot.initrd.network.enable
  ] [ true true ];
  "a session may answer and nothing else" = has (ssh plain).extraConfig [
    "ForceCommand /nix/store/00000000000000000000000000000000-latchkey/bin/latchkey answer\n"
    "DisableForwarding yes\n"
    "PermitUserRC no\n"
  ];
  "what an owner adds comes after that, so that no Match block swallows it" = equal (
    lib.hasPrefix "ForceCommand" (ssh (remote {
      boot.initrd.network.ssh.extraConfig = "Match Address 10.0.0.0/8\n  PermitTTY no";
    })).extraConfig
  ) true;
  "root keeps its shell for the emergency" = equal plain.config.boot.initrd.systemd.users { };
  "without restrict nothing is forced" = equal (ssh (remote {
    boot.initrd.latchkey.remote.restrict = false;
  })).extraConfig "";
  "a named volume has the source" = equal plain.config.boot.initrd.latchkey.resolved.volumes.root.sources [
    "prompt"
    "remote"
  ];
  "an owner's own port stays" = equal (ssh (remote { boot.initrd.network.ssh.port = 2222; })).port 2222;
  "nothing has to be named: the table is for all volumes that have no sources of their own" = fine (
    withRoot [ keys { boot.initrd.latchkey.remote.enable = true; } ]
  );
  "it is told its port and when to listen" =
    has
      (remote { boot.initrd.network.ssh.port = 2222; boot.initrd.latchkey.remote.start = "always"; })
      .config.boot.initrd.systemd.contents."/etc/latchkey/latchkey.toml".source.env.file.text
      [ "[remote]\nport = 2222\nstart = \"always\"\n" ];
  "the console can say where to come" = equal (builtins.fromJSON
    plain.config.boot.initrd.systemd.contents."/usr/lib/latchkey/remote.json".text
  ) { server = "openssh"; port = 22; fingerprints = [ ]; };
  "the server can be brought up again" = has
    plain.config.boot.initrd.systemd.contents."/usr/lib/latchkey/remote-start".source.text
    [ "#!/bin/sh\nexec systemctl --no-block start sshd.service\n" ];
  "a host key in the store is refused" = refusedWith
    "boot.initrd.network.ssh.hostKeys has a Nix path, which copies the private key to the store; write its place as a string"
    (remote {
      boot.initrd.network.ssh.hostKeys = lib.mkForce [ "/nix/store/00000000000000000000000000000000-key" ];
    });
  "no host key is refused" = refusedWith
    "boot.initrd.network.ssh.hostKeys is empty; make keys of the initrd's own with ssh-keygen and name their place as a string"
    (remote { boot.initrd.network.ssh.hostKeys = lib.mkForce [ ]; });
  "a server that is turned off is refused" = refusedWith
    "answers over SSH need boot.initrd.network.ssh.enable, and something has turned it off"
    (remote { boot.initrd.network.ssh.enable = false; });
  "a network that is turned off is refused" = refusedWith
    "Tang and answers over SSH need the network in the initrd; set boot.initrd.network.enable = true for DHCP, or boot.initrd.systemd.network.enable = true with networks of your own"
    (remote { boot.initrd.network.enable = false; });
  "a remote source without remote is refused" = refusedWith
    "volumes.root.sources has \"remote\"; set boot.initrd.latchkey.remote.enable = true, or nothing will listen"
    (withOptions { volumes.root.sources = [ "prompt" "remote" ]; });
}
