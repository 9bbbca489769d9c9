import { isSameReference, parseDeviceList } from "./device-reference.ts";
import type { Fstab, FstabEntry } from "./fstab.ts";
import { type KernelCommandLine, kernelCommandLineOrigin } from "./kernel-command-line.ts";
import type { Certainty, DeviceReference } from "./plan.ts";
import type { Problem } from "./problems.ts";
import { maxVolumes, type StatedVolume } from "./toml-volumes.ts";
import { nameFromMountPoint } from "./volume-name.ts";

/** Volumes that nobody wrote down for latchkey, but that the system is about to mount. */
export interface FoundVolumes {
  readonly volumes: readonly (StatedVolume & { readonly isRoot: boolean; readonly isForInitrd: boolean })[];
  readonly problems: readonly Problem[];
}

/** What the initrd mounts according to `root=` and fstab, where it is a bcachefs or may be one. */
export function findVolumes(kernel: KernelCommandLine, fstab: Fstab | undefined): FoundVolumes {
  const root = findRoot(kernel);
  const file = fstab?.file ?? "fstab";
  const entries = (fstab?.entries ?? [])
    .filter((entry) => isMountedInInitrd(entry) && entry.type === "bcachefs")
    .filter((entry) => !isRootMount(entry) || takesRootFromFstab(kernel) || isAboutRoot(entry, root));
  const mounts = entries.slice(0, maxVolumes).map((entry) => findMount(entry, file));
  const tooMany = `more than ${maxVolumes} mounts of bcachefs in the initrd: the rest is left to the system`;
  return {
    volumes: [...root.volumes, ...mounts.flatMap(({ volumes }) => volumes)],
    problems: [
      ...root.problems,
      ...mounts.flatMap(({ problems }) => problems),
      ...(entries.length > maxVolumes ? [warning({ file }, undefined, tooMany)] : []),
    ],
  };
}

/** fstab's line for the root counts beside `root=` when it names the same device: then it tells the type. */
function isAboutRoot(entry: FstabEntry, root: FoundVolumes): boolean {
  const listed = parseDeviceList(entry.device);
  if ("problem" in listed) return false;
  return root.volumes.some(({ devices }) =>
    devices.some((device) => listed.value.some((other) => isSameReference(device, other))),
  );
}

/** `root=fstab` is NixOS's way (systemd-fstab-generator(8)); without any `root=` fstab is all there is. */
export function takesRootFromFstab({ root }: KernelCommandLine): boolean {
  return root === undefined || root === "" || root === "fstab";
}

/** In an initrd the root is `/sysroot`; in the system's own fstab it is `/`. */
export function isRootMount({ mountPoint }: FstabEntry): boolean {
  return mountPoint === "/" || /^\/sysroot\/?$/.test(mountPoint);
}

/** What systemd mounts before it leaves the initrd: root, /usr, `x-initrd.mount` (systemd.mount(5)), and NixOS's /sysroot. */
function isMountedInInitrd(entry: FstabEntry): boolean {
  if (isRootMount(entry)) return true;
  if (entry.options.includes("noauto")) return false;
  return (
    entry.mountPoint === "/usr" || entry.mountPoint.startsWith("/sysroot/") || entry.options.includes("x-initrd.mount")
  );
}

function findRoot(kernel: KernelCommandLine): FoundVolumes {
  const certainty = rootCertainty(kernel.rootType);
  if (takesRootFromFstab(kernel) || certainty === undefined) return { volumes: [], problems: [] };
  const parsed = parseDeviceList(kernel.root ?? "");
  if ("problem" in parsed) {
    // Other programs have forms of their own (`nfs:…`, `gpt-auto`, `ZFS=…`): no concern of ours, unless it is to be a bcachefs.
    const text = `latchkey cannot tell which device this is: ${parsed.problem}`;
    return { volumes: [], problems: certainty === "stated" ? [warning(kernelCommandLineOrigin, "root", text)] : [] };
  }
  const devices = parsed.value;
  if (certainty === "if-bcachefs" && devices.some(isNoPlaceToGuess)) {
    return { volumes: [], problems: [] };
  }
  const origin = kernelCommandLineOrigin;
  const root = { name: "root", kind: "bcachefs", certainty, devices, origin, isRoot: true, isForInitrd: true } as const;
  return { volumes: [root], problems: [] };
}

/** `rootfstype=` may be a list, which the kernel tries in turn; none at all means that the device tells. */
function rootCertainty(type: string | undefined): Certainty | undefined {
  const types = (type ?? "auto").split(",");
  if (!types.some((name) => ["bcachefs", "auto", ""].includes(name))) return undefined;
  return types.every((name) => name === "bcachefs") ? "stated" : "if-bcachefs";
}

/**
 * A mapping appears only after the system itself has opened what lies below it (LUKS, most often), so waiting for one on a
 * mere guess could hold up the system's own question. And the kernel's names for "not a disk" are never waited for.
 */
function isNoPlaceToGuess(device: DeviceReference): boolean {
  return device.by === "path" && /^\/dev\/(?:mapper\/.*|dm-\d+|ram\d*|nfs|cifs)$/.test(device.path);
}

function findMount(entry: FstabEntry, file: string): FoundVolumes {
  const origin = { file, line: entry.line };
  const parsed = parseDeviceList(entry.device);
  if ("problem" in parsed) return { volumes: [], problems: [warning(origin, undefined, `${parsed.problem}: ignored`)] };
  const name = nameFromMountPoint(entry.mountPoint);
  const isRoot = isRootMount(entry);
  const isForInitrd = isRoot || !entry.options.includes("nofail");
  return {
    volumes: [{ name, kind: "bcachefs", certainty: "stated", devices: parsed.value, origin, isRoot, isForInitrd }],
    problems: [],
  };
}

function warning(origin: Problem["origin"], key: string | undefined, text: string): Problem {
  return { severity: "warning", code: "config/invalid-value", origin, ...(key === undefined ? {} : { key }), text };
}
