import type { Files } from "./files.ts";

/** What /sbin/init of the tiny root says on the console; tests and the machine match on these. */
export const rootSays = {
  reached: "vm: real root reached",
  ready: "vm: ready",
  beginMounts: "vm: mounts begin",
  endMounts: "vm: mounts end",
  beginReport: "vm: report begin",
  endReport: "vm: report end",
  noReport: "vm: no report",
  holding: "vm: holding",
  shell: "vm: shell",
} as const;

/** What the real root does after it has said everything; given on the kernel command line as `vm.root=`. */
export type AtRoot = "power-off" | "hold" | "shell";

/** Where latchkey leaves what happened at this boot. */
const REPORT = "/run/latchkey/report.json";

const INIT = `#!/bin/sh
exec </dev/console >/dev/console 2>&1
# Kernel messages must not land in the middle of what follows.
dmesg -n 1
echo
echo "${rootSays.reached}"
echo "vm: uptime $(cut -d ' ' -f 1 /proc/uptime)"
echo "${rootSays.beginMounts}"
cat /proc/mounts
echo "${rootSays.endMounts}"
if [ -e ${REPORT} ]; then
  echo "${rootSays.beginReport}"
  cat ${REPORT}
  echo
  echo "${rootSays.endReport}"
else
  echo "${rootSays.noReport}"
fi
echo "${rootSays.ready}"
next=power-off
for word in $(cat /proc/cmdline); do
  case $word in vm.root=*) next=\${word#vm.root=} ;; esac
done
case $next in
  hold)
    echo "${rootSays.holding}"
    while :; do sleep 3600; done ;;
  shell)
    echo "${rootSays.shell}"
    while :; do PS1='vm# ' setsid -c sh -i; done ;;
esac
# The serial line still holds what was said last, and a power-off drops it: setting it (TCSADRAIN) waits until it is sent.
stty sane
poweroff -f
`;

/** The smallest root that systemd's switch-root accepts: it wants os-release, and an init. */
export const rootTree: Files = {
  "/sbin/init": { content: INIT, mode: 0o755 },
  "/etc/os-release": 'NAME="latchkey test root"\nID=latchkey-vm\nVERSION_ID=1\n',
  "/etc/machine-id": "6c617463686b65790000000000000001\n",
  // The mount points that switch-root moves the initrd's mounts to.
  ...Object.fromEntries(["dev", "proc", "sys", "run", "tmp"].map((name) => [`/${name}/.keep`, ""])),
};
