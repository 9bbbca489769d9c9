import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type FolderFacts,
  judgeFolder,
  lookAtFolder,
  makeKeyFolderInMemory,
  swapsToDisk,
} from "../../../../../src/providers/luks/systemd-lane/key-folder.ts";
import { StagedKeys } from "../../../../../src/providers/luks/systemd-lane/staged-keys.ts";
import { SecretBytes } from "../../../../../src/system/secret-bytes.ts";

const KEY = "correct \0 horse\n";
const secret = (text = KEY) => SecretBytes.take(new TextEncoder().encode(text));

class Scene implements Disposable {
  readonly root = mkdtempSync(join(tmpdir(), "latchkey-staged-"));
  readonly folder = join(this.root, "keys.d");
  readonly notes = join(this.root, "run", "staged");
  /** Another process each time, as it is in life. */
  get staged(): StagedKeys {
    return new StagedKeys({
      folder: this.folder,
      notes: this.notes,
      makeFolder: (path) => mkdirSync(path, { recursive: true }),
    });
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true });
  }
}

describe("a staged key", () => {
  test("is whole, for root to read alone, and alone in its folder", () => {
    using scene = new Scene();
    using key = secret();
    scene.staged.stage("data", key);
    const path = join(scene.folder, "data.key");
    expect(readFileSync(path, "latin1")).toBe(KEY);
    expect(statSync(path).mode & 0o7777).toBe(0o400);
    expect(readdirSync(scene.folder)).toEqual(["data.key"]);
    expect(scene.staged.volumes).toEqual(["data"]);
    expect(key.isDisposed).toBe(false); // it belongs to whoever proved it
  });

  test("takes the place of an earlier one, which is overwritten", () => {
    using scene = new Scene();
    using first = secret("the first one");
    using second = secret("another");
    scene.staged.stage("data", first);
    const path = join(scene.folder, "data.key");
    const before = statSync(path).ino;
    scene.staged.stage("data", second);
    expect(readFileSync(path, "utf8")).toBe("another");
    expect(statSync(path).ino).not.toBe(before);
    expect(scene.staged.withdraw("data")).toBe(true);
  });

  test("is overwritten and gone once withdrawn, and withdrawing again does nothing", () => {
    using scene = new Scene();
    using key = secret();
    scene.staged.stage("data", key);
    // A second name of the same file shows what became of its content.
    const path = join(scene.folder, "data.key");
    const witness = join(scene.root, "witness");
    Bun.spawnSync(["ln", path, witness]);
    expect(scene.staged.withdraw("data")).toBe(true);
    expect(existsSync(path)).toBe(false);
    expect(readFileSync(witness)).toEqual(Buffer.alloc(KEY.length));
    expect(scene.staged.withdraw("data")).toBe(false);
    expect(scene.staged.volumes).toEqual([]);
  });

  test.each(["file", "socket", "link"] as const)("never touches a %s of somebody else", (kind) => {
    using scene = new Scene();
    using servers = new DisposableStack();
    mkdirSync(scene.folder);
    const path = join(scene.folder, "data.key");
    if (kind === "file") writeFileSync(path, "theirs");
    else if (kind === "link") Bun.spawnSync(["ln", "-s", "/nonexistent/key", path]);
    else {
      const server = Bun.listen({ unix: path, socket: { data: () => undefined } });
      servers.defer(() => server.stop(true));
    }
    using key = secret();
    expect(() => scene.staged.stage("data", key)).toThrow("is there and is not latchkey's");
    expect(scene.staged.withdraw("data")).toBe(false);
    expect(readdirSync(scene.folder)).toEqual(["data.key"]);
    if (kind === "file") expect(readFileSync(path, "utf8")).toBe("theirs");
  });

  test("is not mistaken for a file that came in its place", () => {
    using scene = new Scene();
    using key = secret();
    scene.staged.stage("data", key);
    const path = join(scene.folder, "data.key");
    const theirs = join(scene.root, "theirs");
    writeFileSync(theirs, "theirs");
    renameSync(theirs, path);
    expect(scene.staged.volumes).toEqual([]);
    expect(scene.staged.withdraw("data")).toBe(false);
    expect(readFileSync(path, "utf8")).toBe("theirs");
  });

  test("leaves nothing when it cannot be written", () => {
    using scene = new Scene();
    mkdirSync(join(scene.root, "run"));
    writeFileSync(scene.notes, "no folder");
    using key = secret();
    expect(() => scene.staged.stage("data", key)).toThrow();
    expect(readdirSync(scene.folder)).toEqual([]);
  });
});

describe("where a key may lie", () => {
  const tmpfs: FolderFacts = { filesystem: "tmpfs", isEmpty: true, mountsAreShared: true, swaps: true };

  test.each<[string, Partial<FolderFacts>, ReturnType<typeof judgeFolder>]>([
    ["an empty folder gets a ramfs", {}, "mount"],
    ["also without swap, which may come", { swaps: false }, "mount"],
    ["also on a disk", { filesystem: "other" }, "mount"],
    ["a ramfs is good as it is", { filesystem: "ramfs", isEmpty: false }, "good"],
    ["a tmpfs that is in use is good without swap", { isEmpty: false, swaps: false }, "good"],
    ["and is not with swap", { isEmpty: false }, "unsafe"],
    ["nothing is mounted where systemd would not see it", { mountsAreShared: false }, "unsafe"],
    ["a tmpfs without swap is good there", { mountsAreShared: false, swaps: false }, "good"],
    ["a disk never is", { filesystem: "other", isEmpty: false, swaps: false }, "unsafe"],
  ])("%s", (_, facts, expected) => expect(judgeFolder({ ...tmpfs, ...facts })).toBe(expected));

  const inFolder = (facts: Partial<FolderFacts>, errno?: number) => {
    const root = mkdtempSync(join(tmpdir(), "latchkey-folder-"));
    const mounts: string[] = [];
    const mount = (source: string, target: string, type: string, flags: number, data: string) => {
      mounts.push([source, target.slice(root.length), type, flags, data].join(" "));
      return errno === undefined ? { value: 0 } : { errno };
    };
    try {
      const folder = join(root, "keys.d");
      mkdirSync(folder);
      chmodSync(folder, 0o755);
      makeKeyFolderInMemory(folder, () => ({ ...tmpfs, ...facts }), { mount });
      return { mounts, mode: statSync(folder).mode & 0o777 };
    } finally {
      rmSync(root, { recursive: true });
    }
  };

  test("the ramfs is for root alone, and so is the folder", () => {
    expect(inFolder({})).toEqual({ mounts: ["latchkey /keys.d ramfs 14 mode=0700"], mode: 0o700 });
    expect(inFolder({ filesystem: "ramfs" })).toEqual({ mounts: [], mode: 0o700 });
  });

  test("where none can be mounted, a tmpfs without swap does, and anything else is refused with the reason", () => {
    expect(inFolder({ swaps: false }, 1).mode).toBe(0o700);
    expect(() => inFolder({}, 1)).toThrow(
      "it is a tmpfs, which may be swapped to a disk, and no ramfs can be mounted there (EPERM)",
    );
    expect(() => inFolder({ filesystem: "other", isEmpty: false })).toThrow("it lies on a disk");
  });

  test("compressed memory is no disk", () => {
    const heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
    expect(swapsToDisk("")).toBe(false);
    expect(swapsToDisk(heading)).toBe(false);
    expect(swapsToDisk(`${heading}/dev/zram0                              partition\t1\t0\t100\n`)).toBe(false);
    expect(swapsToDisk(`${heading}/dev/zram0  partition\t1\t0\t100\n/swapfile  file\t1\t0\t-2\n`)).toBe(true);
    expect(swapsToDisk(`${heading}/dev/dm-1  partition\t1\t0\t-2\n`)).toBe(true);
  });

  const canMount = process.getuid?.() === 0 && Bun.spawnSync(["unshare", "--mount", "true"]).exitCode === 0;
  test.skipIf(!canMount)("a ramfs, a tmpfs and a disk are told apart by the kernel (skipped without root)", () => {
    const look = (mount: string): unknown => {
      const program = `import { lookAtFolder } from "${join(import.meta.dir, "../../../../../src/providers/luks/systemd-lane/key-folder.ts")}"; console.log(JSON.stringify(lookAtFolder("/mnt")));`;
      const run = Bun.spawnSync([
        "unshare",
        "--mount",
        "sh",
        "-c",
        `${mount}; exec "$1" -e "$2"`,
        "sh",
        process.execPath,
        program,
      ]);
      return JSON.parse(run.stdout.toString());
    };
    // In a namespace of its own nothing that is mounted is seen by process 1.
    expect(look("mount -t ramfs none /mnt")).toMatchObject({
      filesystem: "ramfs",
      isEmpty: true,
      mountsAreShared: false,
    });
    expect(look("mount -t tmpfs none /mnt; touch /mnt/x")).toMatchObject({ filesystem: "tmpfs", isEmpty: false });
    expect(lookAtFolder("/proc").filesystem).toBe("other");
  });
});
