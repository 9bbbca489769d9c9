import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CommandError, run } from "./command.ts";
import type { Files } from "./files.ts";
import { seconds } from "./patience.ts";

/** Things to put into one machine's initrd, to see what a boot does when something goes wrong. */

/** Where dracut 106 on Debian really keeps its hooks: /usr/lib/dracut/hooks is a link to it. */
const HOOKS = "/var/lib/dracut/hooks";
const UNITS = "/etc/systemd/system";

/** dracut's hook directories, in the order of a boot; see dracut.bootup(7). */
export type HookPhase =
  | "pre-udev"
  | "pre-trigger"
  | "initqueue"
  | "pre-mount"
  | "mount"
  | "pre-pivot"
  | "shutdown-emergency";

/** A shell script that dracut sources at a point of the boot. The image has few programs: write it with builtins. */
export function hook(phase: HookPhase, name: string, script: string): Files {
  return { [`${HOOKS}/${phase}/99-${name}.sh`]: { content: script, mode: 0o755 } };
}

/** A systemd unit that starts with `wantedBy`; by default as early as anything. */
export function unit(name: string, text: string, wantedBy = "sysinit.target"): Files {
  return {
    [`${UNITS}/${name}`]: text,
    [`${UNITS}/${wantedBy}.wants/${name}`]: { link: `${UNITS}/${name}` },
  };
}

/** A drop-in for a unit of the image. */
export function dropIn(unitName: string, name: string, text: string): Files {
  return { [`${UNITS}/${unitName}.d/${name}.conf`]: text };
}

/** What a boot that failed had to say: printed before dracut powers off (`rd.shell=0`). */
export const journalOnFailure: Files = hook(
  "shutdown-emergency",
  "vm-journal",
  "journalctl --boot --no-pager --lines 120 >/dev/ttyS0 2>&1\n",
);

export interface KillOptions {
  /** The name in /proc/PID/comm: the program's name, cut to 15 characters. */
  readonly process: string;
  /** Not before there is something at this path: the node of a disk that the test plugs in when the time has come. */
  readonly whenThere?: string;
  /** Milliseconds from its start, give or take the tenth of a second at which the fault looks around. */
  readonly after?: number;
  /** Every process of that name, or only the first. */
  readonly every?: boolean;
  readonly signal?: "ALRM" | "KILL" | "SEGV" | "STOP" | "TERM";
}

/** Kills a program during the boot. Says `vm: fault: killed PROCESS` on the console when it has done so. */
export function kill(options: KillOptions): Files {
  const { process: name } = options;
  const service = `[Unit]
Description=Test fault: kill ${name}
DefaultDependencies=no
[Service]
ExecStart=/usr/bin/vm-fault-kill
`;
  return {
    "/usr/bin/vm-fault-kill": { content: killScript(options), mode: 0o755 },
    ...unit("vm-fault-kill.service", service),
  };
}

/** The same in an image of initramfs-tools, where boot scripts may have the program's name: it is known by its path, too. */
export function killInInitramfs(options: KillOptions & { readonly path: string }): Files {
  const isIt = `[ "$(readlink "$folder/exe")" = '${options.path}' ] || continue`;
  return {
    "/usr/bin/vm-fault-kill": { content: killScript(options, isIt), mode: 0o755 },
    ...earlyScript("vm-fault", "/usr/bin/vm-fault-kill &\n"),
  };
}

/**
 * A shell script that an image of initramfs-tools runs before everything that opens volumes. The ORDER file is the list by which
 * a boot goes; no package has a script in this folder.
 */
export function earlyScript(name: string, script: string): Files {
  const path = `/scripts/init-premount/${name}`;
  return {
    [path]: { content: `#!/bin/sh\n${script}`, mode: 0o755 },
    "/scripts/init-premount/ORDER": `${path} "$@"\n`,
  };
}

/** @param isIt a further condition, as a line of shell */
function killScript(options: KillOptions, isIt = ":"): string {
  const { process: name, after = 0, every = false, signal = "KILL", whenThere = "/" } = options;
  // Shell builtins and sleep only: the initrd has no pgrep. A process may end between two lines, hence the 2>/dev/null.
  return `#!/bin/sh
until [ -e '${whenThere}' ]; do sleep 0.1; done
while :; do
  for folder in /proc/[0-9]*; do
    read -r name 2>/dev/null <"$folder/comm" || continue
    [ "$name" = '${name}' ] || continue
    ${isIt}
    sleep ${after / 1000}
    kill -${signal} "\${folder#/proc/}" 2>/dev/null || continue
    echo 'vm: fault: killed ${name}' >/dev/ttyS0
    ${every ? "continue" : "exit 0"}
  done
  sleep 0.1
done
`;
}

export type Damage = "missing" | "empty" | "truncated" | "stripped" | "not-executable" | "hanging";

/** The binary in the image, broken in one way. Each is something that has been seen on real machines. */
export async function damagedBinary(damage: Damage, binary: string, path = "/usr/bin/latchkey"): Promise<Files> {
  switch (damage) {
    // A cpio cannot take a file away; a link that leads nowhere gives the same ENOENT.
    case "missing":
      return { [path]: { link: "/nonexistent" } };
    case "empty":
      return { [path]: { content: "", mode: 0o755 } };
    case "truncated": {
      const whole = readFileSync(binary);
      return { [path]: { content: whole.subarray(0, whole.length >> 1), mode: 0o755 } };
    }
    case "stripped":
      return { [path]: { content: await stripped(binary), mode: 0o755 } };
    case "not-executable":
      return { [path]: { content: readFileSync(binary), mode: 0o644 } };
    case "hanging":
      return { [path]: { content: "#!/bin/sh\nwhile :; do sleep 3600; done\n", mode: 0o755 } };
  }
}

/** strip(1) takes the program out of a Bun binary and leaves a plain Bun: what an image builder does that is not told otherwise. */
async function stripped(binary: string): Promise<Uint8Array> {
  const target = join("/tmp", `latchkey-stripped-${process.pid}`);
  try {
    await run(["strip", "-o", target, binary], { purpose: "stripping the binary", within: seconds(60) });
    return readFileSync(target);
  } catch (error) {
    throw error instanceof CommandError ? error : new Error("strip(1) is missing: install binutils");
  } finally {
    await Bun.file(target)
      .delete()
      .catch(() => undefined);
  }
}
