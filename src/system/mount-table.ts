/** One mount, as /proc/self/mountinfo has it (proc(5)). */
export interface MountEntry {
  /** `8:17`, of the device. */
  readonly device: string;
  /** The folder of the filesystem that is mounted: `/` unless only a part of it is. */
  readonly root: string;
  readonly mountPoint: string;
  readonly type: string;
  readonly isReadOnly: boolean;
}

/** Every mount of this process's namespace, the latest last. Lines that are not understood are left out. */
export function parseMountTable(text: string): readonly MountEntry[] {
  return text.split("\n").flatMap((line) => {
    const [left = "", right = ""] = line.split(" - ");
    const [, , device, root, mountPoint, options = ""] = left.split(" ");
    const [type, , superOptions = ""] = right.split(" ");
    if (device === undefined || root === undefined || mountPoint === undefined || !type) return [];
    const isReadOnly = [options, superOptions].some((list) => list.split(",").includes("ro"));
    return [{ device, root: unescaped(root), mountPoint: unescaped(mountPoint), type, isReadOnly }];
  });
}

/** Blanks, tabs, newlines and backslashes stand there as octal numbers. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
