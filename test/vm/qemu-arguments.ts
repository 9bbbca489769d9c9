import type { AtRoot } from "./root-tree.ts";

export interface Disk {
  readonly file: string;
  /** Names the disk to the guest (/dev/disk/by-id/virtio-SERIAL) and to `machine.plug`. At most 20 characters. */
  readonly serial: string;
  readonly bus?: "virtio" | "usb";
  /** Not there when the machine starts; `machine.plug(serial)` puts it in. */
  readonly isLate?: boolean;
  /** No more than this goes through in a second: a slow disk. */
  readonly bytesPerSecond?: number;
  /** Writes reach the file instead of vanishing with the machine. */
  readonly isKept?: boolean;
}

export interface NetworkOptions {
  /** Where the ports of the host lead: an address of 10.0.2.0/24 that the guest gives itself. */
  readonly guestAddress?: string;
  /** A second card, before the other one, in a network of its own with a DHCP server: 10.0.3.0/24. */
  readonly hasOtherCard?: boolean;
}

/** Of the card that `guestPorts` brings: udev names it after its place on the bus, 0x10. */
export const CARD = "enp0s16";

export interface HardwareOptions {
  readonly disks: readonly Disk[];
  readonly memoryMegabytes?: number;
  readonly processors?: number;
  /**
   * "instructions": the guest's clock counts executed instructions (10⁹ to the second), on one processor. Two runs agree to a third of a
   * percent whatever the host does, at two to three times the wall time.
   */
  readonly clock?: "host" | "instructions";
  /** The network card that `guestPorts` brings, where it differs from one that asks for its address by DHCP. */
  readonly network?: NetworkOptions;
  /** Added to the kernel command line; the last word on an option wins. */
  readonly commandLine?: readonly string[];
  /** What the tiny root does when it has said everything. */
  readonly atRoot?: AtRoot;
}

/** The parts that exist only once the machine is being started. */
export interface Sockets {
  readonly qmp: string;
  readonly tpm?: string;
  /** Guest ports with the ports of the host's loopback that lead there; the guest sees that loopback as 10.0.2.2. */
  readonly forwards?: ReadonlyMap<number, number>;
}

/** More than this and q35 splits the memory, so that saving it from address 0 on would miss a part. */
export const MAX_MEMORY_MEGABYTES = 2048;

export const defaultMemoryMegabytes = 1024;

/**
 * Words every guest gets: readable console, no reboot loops, power off instead of an emergency shell. no_timer_check: a busy host
 * makes the kernel believe that the emulated timer is broken.
 */
const KERNEL_WORDS = [
  ...["console=ttyS0", "panic=-1", "rd.shell=0", "systemd.show_status=0", "loglevel=4"],
  "no_timer_check",
];

/** The whole QEMU command: pure, so that a failing case can be started again by hand from what the transcript says. */
export function qemuArguments(
  options: HardwareOptions,
  kernel: string,
  initrd: string,
  sockets: Sockets,
): readonly string[] {
  const { disks, memoryMegabytes = defaultMemoryMegabytes, clock = "host", atRoot = "power-off" } = options;
  const processors = clock === "instructions" ? 1 : (options.processors ?? 2);
  const words = [...KERNEL_WORDS, `vm.root=${atRoot}`, ...(options.commandLine ?? [])];
  const usesUsb = disks.some((disk) => disk.bus === "usb");
  return [
    "qemu-system-x86_64",
    ...["-machine", "q35,sata=off,smbus=off", ...acceleration(clock)],
    ...["-smp", `${processors}`, "-m", `${memoryMegabytes}`],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"],
    // A reboot ends the run; after a power-off QEMU stays, so that the guest's memory can still be looked at.
    ...["-no-reboot", "-no-shutdown"],
    ...["-device", "virtio-rng-pci", "-qmp", `unix:${sockets.qmp},server=on,wait=off`],
    ...["-kernel", kernel, "-initrd", initrd, "-append", words.join(" ")],
    ...(usesUsb ? ["-device", "qemu-xhci,id=usb"] : []),
    ...disks.flatMap(diskArguments),
    ...(sockets.tpm === undefined ? [] : tpmArguments(sockets.tpm)),
    ...(sockets.forwards === undefined ? [] : networkArguments(sockets.forwards, options.network)),
  ];
}

function acceleration(clock: "host" | "instructions"): readonly string[] {
  // sleep=off would jump over idle waits: a limit of ten seconds fired early.
  if (clock === "instructions") return ["-accel", "tcg", "-icount", "shift=0,sleep=on", "-cpu", "max"];
  if (process.env["LATCHKEY_VM_ACCEL"] === "kvm") return ["-accel", "kvm", "-cpu", "host"];
  // Bun needs SSE4.2, which the default CPU model lacks; "max" boots quickest of all models that have it.
  return ["-accel", "tcg,thread=multi", "-cpu", "max"];
}

function diskArguments(disk: Disk, index: number): readonly string[] {
  const speed = disk.bytesPerSecond === undefined ? "" : `,throttling.bps-total=${disk.bytesPerSecond}`;
  const options = `id=drive-${disk.serial},format=raw,snapshot=${disk.isKept ? "off" : "on"},cache=unsafe${speed}`;
  const drive = ["-drive", `if=none,file=${disk.file.replaceAll(",", ",,")},${options}`];
  if (!disk.isLate) return [...drive, "-device", deviceProperties(disk)];
  if (disk.bus === "usb") return drive;
  // Slots 0 to 31 of the root bus are QEMU's to give; chassis and slot only have to differ between ports.
  return [...drive, "-device", `pcie-root-port,id=port-${disk.serial},chassis=${index + 1},slot=${index + 1}`];
}

function deviceProperties(disk: Disk): string {
  return Object.entries(deviceAt(disk))
    .map(([key, value]) => (key === "driver" ? `${value}` : `${key}=${value === true ? "on" : value}`))
    .join(",");
}

/** The device as QMP's device_add takes it. */
export function deviceAt(disk: Disk): Record<string, string | boolean> {
  const common = { drive: `drive-${disk.serial}`, id: disk.serial, serial: disk.serial };
  if (disk.bus === "usb") return { driver: "usb-storage", ...common, bus: "usb.0", removable: true };
  return { driver: "virtio-blk-pci", ...common, ...(disk.isLate ? { bus: `port-${disk.serial}` } : {}) };
}

function tpmArguments(socket: string): readonly string[] {
  return [
    ...["-chardev", `socket,id=tpm-socket,path=${socket}`],
    ...["-tpmdev", "emulator,id=tpm,chardev=tpm-socket", "-device", "tpm-crb,tpmdev=tpm"],
  ];
}

function networkArguments(forwards: ReadonlyMap<number, number>, options: NetworkOptions = {}): readonly string[] {
  const { guestAddress = "", hasOtherCard = false } = options;
  const rules = [...forwards].map(
    ([guestPort, hostPort]) => `,hostfwd=tcp:127.0.0.1:${hostPort}-${guestAddress}:${guestPort}`,
  );
  const other = ["-netdev", "user,id=other,net=10.0.3.0/24", "-device", "virtio-net-pci,netdev=other,romfile="];
  return [
    ...(hasOtherCard ? other : []),
    ...["-netdev", `user,id=net${rules.join("")}`, "-device", "virtio-net-pci,netdev=net,addr=0x10,romfile="],
  ];
}
