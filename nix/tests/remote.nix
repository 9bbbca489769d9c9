# A root that is opened over SSH: the wrong passphrase, then the right one, and nothing else is to be had there.
{ pkgs, module }:
let
  common = import ./common.nix { inherit pkgs module; };
  keys = import "${pkgs.path}/nixos/tests/ssh-keys.nix" pkgs;
in
pkgs.testers.runNixOSTest {
  name = "latchkey-remote";

  nodes.machine.imports = [ common.plain ];

  nodes.target = {
    imports = [ common.opened ];
    boot.initrd = {
      # The test's network has no DHCP server.
      systemd.network = {
        enable = true;
        networks."10-test" = {
          matchConfig.Name = "eth1";
          address = [ "192.168.1.2/24" ];
        };
      };
      network.ssh = {
        port = 2222;
        hostKeys = [ "/etc/initrd/ssh_host_ed25519_key" ];
        authorizedKeys = [ keys.snakeOilPublicKey ];
      };
      latchkey = {
        remote.enable = true;
        volumes.root = { };
      };
    };
  };

  nodes.client = {
    environment.etc."key" = {
      source = keys.snakeOilPrivateKey;
      mode = "0600";
    };
  };

  testScript =
    { nodes, ... }:
    ''
      ${common.helpers}

      SSH = "ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i /etc/key -p 2222 root@192.168.1.2"

      machine.start()
      client.start()
      format_disk(machine)
      machine.succeed(
          "mkdir -p /etc/initrd",
          "ssh-keygen -t ed25519 -N ''' -f /etc/initrd/ssh_host_ed25519_key",
      )
      install(machine, "${nodes.target.system.build.toplevel}")
      client.wait_until_succeeds("nc -z 192.168.1.2 2222")

      with subtest("no shell, no command"):
          assert "uid=0" not in client.execute(f"{SSH} id < /dev/null")[1]

      with subtest("a wrong passphrase is said to be wrong"):
          status, _ = client.execute(f"echo wrong | {SSH}")
          assert status == 2, status

      client.succeed(f"echo '${common.passphrase}' | {SSH}")
      check_root(machine, "remote")
    '';
}
