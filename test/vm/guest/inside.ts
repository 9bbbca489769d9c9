import { asRoot, run } from "../command.ts";
import type { Guest } from "./chroot.ts";

/**
 * Sets the stage in a mount namespace of its own, so that every mount vanishes with it whatever happens: the guest's root
 * below, a tmpfs overlay above to take what is written, the exchange directory on /mnt. Where the kernel has no overlayfs,
 * the root is copied instead.
 *
 * Arguments: guest directory, exchange directory, script for /bin/sh in the chroot, its arguments.
 */
const STAGE = `
cd "$1"; exchange=$2; script=$3; shift 3
mount -t tmpfs -o mode=0755 tmpfs stage
mkdir stage/upper stage/work stage/root
mount -t overlay -o lowerdir=root,upperdir=stage/upper,workdir=stage/work overlay stage/root 2>/dev/null ||
  cp -a --reflink=auto root/. stage/root/
cd stage/root
mount --bind "$exchange" mnt
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount --rbind /dev dev
exec chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin LC_ALL=C /bin/sh -euc "$script" inside "$@"
`;

export interface InsideOptions {
  readonly purpose: string;
  readonly within: number;
  /** Becomes /mnt: files go in and results come out through it. */
  readonly exchange: string;
  readonly arguments?: readonly string[];
  readonly input?: string;
  readonly log?: string;
}

/** Runs a shell script as root in a throw-away copy of the guest, and gives its output. The guest itself stays as it is. */
export function runInside(guest: Guest, script: string, options: InsideOptions): Promise<string> {
  const { exchange, arguments: scriptArguments = [], ...command } = options;
  return run(
    asRoot([
      // A PID namespace too: when the outermost process is killed, everything in it dies.
      ...["unshare", "--mount", "--pid", "--fork", "--kill-child", "--"],
      ...["/bin/sh", "-euc", STAGE, "stage", guest.directory, exchange, script, ...scriptArguments],
    ]),
    command,
  );
}
