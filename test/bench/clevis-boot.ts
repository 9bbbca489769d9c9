import type { Report } from "../../src/unlock/report.ts";
import { type Files, overlay } from "../vm/files.ts";
import type { Guest } from "../vm/guest/chroot.ts";
import { Machine, type MachineOptions } from "../vm/machine.ts";
import { seconds } from "../vm/patience.ts";
import { tpmState } from "../vm/tokens.ts";
import { LOGGED, logged, unpacking } from "./kernel-log.ts";

const LIMIT = seconds(300);

/** One way from a TPM token to an open root. */
export interface ClevisWay {
  readonly name: string;
  readonly guest: Guest;
  readonly initrd: string;
  /** With the marks that fit the way; see `marks`. */
  readonly files: Files;
  readonly disks: MachineOptions["disks"];
  readonly commandLine: readonly string[];
}

/**
 * Seconds of the guest's clock, from the start of its kernel; NaN for what the way does not tell. On a machine that counts instructions
 * they are thousand millions of these.
 */
export interface Moments {
  /** The kernel's driver has found the TPM. */
  readonly tpm: number;
  /** The kernel has found the disk. */
  readonly disk: number;
  /** The token is open: the passphrase was found right, or was handed to systemd-cryptsetup. */
  readonly token: number;
  readonly mapping: number;
  readonly mounted: number;
  /** The init of the real root runs. */
  readonly root: number;
}

export interface ClevisBoot {
  readonly moments: Moments;
  /** Of the guest's clock. */
  readonly unpackingSeconds: number;
  /** From the start of QEMU to the init of the real root, by the host's clock. */
  readonly wallSeconds: number;
  /** Processor time of QEMU on the host. */
  readonly cpuSeconds: number;
  /** KiB that are available: before anything is unlocked, with the mapping made, and in the real root. */
  readonly available: { readonly early: number; readonly mapped: number; readonly atRoot: number };
}

const says = { early: "vm: early", token: "vm: the token is open", mapping: "vm: the mapping is there" } as const;

/** Marks are a text, the guest's uptime and its available memory; with builtins only, so that they cost next to nothing. */
export const sayScript: Files = {
  "/etc/vm-say": `read -r vm_up vm_idle </proc/uptime
while read -r vm_key vm_value vm_unit; do
  [ "$vm_key" != MemAvailable: ] || break
done </proc/meminfo
echo "$1 $vm_up $vm_value" >/dev/ttyS0
`,
};

/** The command that says one. */
export const say = (what: keyof typeof says): string => `/bin/sh /etc/vm-say '${says[what]}'`;

interface Mark {
  readonly uptime: number;
  readonly available: number;
}

function seen(text: string, what: keyof typeof says): Mark {
  const [, uptime, available] = new RegExp(`${says[what]} ([\\d.]+) (\\d+)\n`).exec(text) ?? [];
  return { uptime: Number(uptime), available: Number(available) };
}

/** Boots once with nobody there. */
export async function clevisBoot(
  { files, initrd, guest, disks, commandLine, name }: ClevisWay,
  clock: NonNullable<MachineOptions["clock"]>,
  number: number,
): Promise<ClevisBoot> {
  using tpm = tpmState();
  await using machine = await Machine.start({
    name: `bench-${name}-${clock}-${number}`,
    overlays: [overlay(files)],
    ...{ guest, initrd, disks, commandLine, clock },
    tpm: { state: tpm.directory },
    atRoot: "shell",
  });
  const { at, report, uptimeSeconds } = await machine.realRoot(LIMIT);
  const cpuSeconds = machine.cpuSeconds();
  const memory = await machine.shell("grep MemAvailable /proc/meminfo", LIMIT);
  const log = await machine.shell(`dmesg | grep -E '${LOGGED}'`, LIMIT);
  const { text } = machine.console;
  const [early, token, mapping] = [seen(text, "early"), seen(text, "token"), seen(text, "mapping")];
  const opened = (report as Report | undefined)?.attempts.find(({ verdict }) => verdict === "opened");
  return {
    moments: {
      tpm: logged(log, /tpm_(?:crb|tis) /),
      disk: logged(log, "[vda]"),
      token: opened ? opened.ended_ms / 1000 : token.uptime,
      mapping: mapping.uptime,
      mounted: logged(log, "mounted filesystem"),
      root: uptimeSeconds,
    },
    unpackingSeconds: unpacking(log),
    wallSeconds: at / 1000,
    cpuSeconds,
    available: {
      early: early.available,
      mapped: mapping.available,
      atRoot: Number(/MemAvailable:\s+(\d+) kB/.exec(memory)?.[1]),
    },
  };
}
