import { FORCED_COMMAND } from "./authorized-keys.ts";
import { HOST_KEYS, SSHD_CONFIG } from "./places.ts";
import { PROGRAMS } from "./server-choice.ts";

/** The keys that OpenSSH takes in the image; dropbear looks in the home of root alone. */
export const OPENSSH_AUTHORIZED_KEYS = "/etc/latchkey/ssh/authorized_keys";

/**
 * sshd_config(5). Everything that is not a session of `latchkey answer` is off twice, here and in the keys' own options. A terminal is
 * allowed: without one a question could not hide what is typed.
 */
export function sshdConfig(port: number, knowsPenalties: boolean): string {
  return `# Made by latchkey for this image.
Port ${port}
HostKey ${HOST_KEYS.openssh}
AuthorizedKeysFile ${OPENSSH_AUTHORIZED_KEYS}
AllowUsers root
PermitRootLogin forced-commands-only
ForceCommand ${FORCED_COMMAND}
AuthenticationMethods publickey
PubkeyAuthentication yes
PasswordAuthentication no
PermitEmptyPasswords no
KbdInteractiveAuthentication no
HostbasedAuthentication no
UsePAM no
DisableForwarding yes
AllowTcpForwarding no
AllowStreamLocalForwarding no
AllowAgentForwarding no
X11Forwarding no
PermitTunnel no
GatewayPorts no
PermitOpen none
PermitListen none
PermitUserRC no
PermitUserEnvironment no
PermitTTY yes
PrintMotd no
PrintLastLog no
Banner none
UseDNS no
PidFile none
# A person types a passphrase, so half a minute must do for logging in; a client that is gone is noticed.
LoginGraceTime 30
MaxAuthTries 3
MaxSessions 4
MaxStartups 10:30:60
ClientAliveInterval 15
ClientAliveCountMax 4
${knowsPenalties ? NO_PENALTIES : ""}`;
}

/**
 * Since OpenSSH 9.8, and an error before. Without passwords there is nothing to guess, and whoever shares an address with somebody who
 * floods the server would be kept out for minutes.
 */
const NO_PENALTIES = "PerSourcePenalties no\n";

/** The program that the unit or boot script starts, in the foreground, with what it says on standard error. */
export function opensshScript(): string {
  return `#!/bin/sh
# Made by latchkey for this image: the SSH server, in the foreground.
mkdir -p -m 0755 /run/sshd
exec ${PROGRAMS.openssh} -D -e -f ${SSHD_CONFIG}
`;
}

/**
 * dropbear(8): no passwords (-s), no forwarding (-j, -k), one command whatever the client wants (-c), dead clients noticed (-K), and
 * silent ones after a day (-I).
 */
export function dropbearScript(port: number): string {
  return `#!/bin/sh
# Made by latchkey for this image: the SSH server, in the foreground.
exec ${PROGRAMS.dropbear} -F -E -s -j -k -m -K 15 -I 86400 -p ${port} -r ${HOST_KEYS.dropbear} -c '${FORCED_COMMAND}'
`;
}
