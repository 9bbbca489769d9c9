# A root that its TPM opens with nobody typing; and the question, with its reason, when PCR 15 has moved on.
{ pkgs, module }:
let
  common = import ./common.nix { inherit pkgs module; };
in
pkgs.testers.runNixOSTest {
  name = "latchkey-tpm";

  nodes.machine = {
    imports = [ common.plain ];
    virtualisation.tpm.enable = true;
  };

  nodes.target = {
    imports = [ common.opened ];
    virtualisation.tpm.enable = true;
    boot.initrd.latchkey = {
      volumes.root.clevis.token = "/var/lib/latchkey/root.jwe";
      policy.sealPcrAfterUnlock = 15;
    };
  };

  testScript =
    { nodes, ... }:
    ''
      ${common.helpers}

      machine.start()
      format_disk(machine)
      machine.succeed(
          "mkdir -p /var/lib/latchkey",
          "latchkey enroll tpm2 UUID=${common.uuid} --pcrs 7,15 --passphrase-file /tmp/passphrase --token /var/lib/latchkey/root.jwe",
      )
      install(machine, "${nodes.target.system.build.toplevel}")
      check_root(machine, "clevis")

      with subtest("the token is shut for the rest of this boot"):
          machine.fail("latchkey decrypt < /etc/latchkey/root.jwe")
    '';
}
