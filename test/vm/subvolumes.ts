import { unit } from "./fault.ts";
import type { Files } from "./files.ts";

/** What the scripts below need in an image beside its own programs. */
export const subvolumePrograms = [
  ...["bcachefs", "mount.bcachefs", "mount", "umount"],
  ...["cp", "dd", "ls", "mkdir", "mv", "rm", "touch"],
];

const PROGRAM = "/usr/bin/vm-subvolumes";

/**
 * A unit that puts subvolumes on a filesystem that latchkey has opened, as `bcachefs format --source` cannot make them, and then runs
 * a script. The tree of the test root is copied into `root`; `blank` is a snapshot of that; `life-0` is what the root has and the
 * blank one has not. The script finds the whole filesystem on $TOP between `open` and `close`.
 * @param order lines for the unit's place in the boot
 */
export function subvolumes(order: string, script = ""): Files {
  const program = `#!/bin/sh
exec >/dev/console 2>&1
TOP=/vm-top
mkdir -p $TOP
open() { mount -t bcachefs /dev/vda $TOP; }
close() { umount $TOP; }
show() { open; echo "vm: $1 [$(ls $2)]"; close; }
open
for name in root nix; do bcachefs subvolume create $TOP/$name; done
for name in bin sbin etc dev proc sys run tmp; do cp -a $TOP/$name $TOP/root/; done
mkdir $TOP/root/nix
bcachefs subvolume snapshot $TOP/root $TOP/blank
touch $TOP/root/life-0 $TOP/nix/store
close
${script}
echo "vm: script done"
`;
  const service = `[Unit]
DefaultDependencies=no
${order}
[Service]
Type=oneshot
ExecStart=${PROGRAM}
KeyringMode=shared
TimeoutStartSec=infinity
`;
  return { [PROGRAM]: { content: program, mode: 0o755 }, ...unit("vm-subvolumes.service", service, "initrd.target") };
}
