/** USB sticks as image files, made by the real tools and without mounting them. */
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { cached, repository } from "./cache.ts";
import { run } from "./command.ts";
import { seconds } from "./patience.ts";

/** Raise when the recipes below change. */
const RECIPE = 1;

/** A file's content, a link, or a file of zeros that takes no room. */
export type StickFile = string | Uint8Array | { readonly link: string } | { readonly size: number };

export interface StickOptions {
  readonly type: "vfat" | "ext4";
  readonly uuid: string;
  readonly files?: Readonly<Record<string, StickFile>>;
  /** What the kernel needs to mount it is broken; what tells its UUID is not. */
  readonly isDamaged?: boolean;
  readonly megabytes?: number;
  /** In the first partition of a table, as a stick is sold; of two megabytes, whatever is said. */
  readonly isPartition?: boolean;
}

/** The table of the fixtures, and where its first partition is: `1a2b3c4d-01`. */
const TABLE = "test/fixtures/usb/mbr.bin";
const PARTITION = { at: 2048 * 512, megabytes: 2 } as const;

/** A stick; from the cache, or made now in a moment. Without partitions, where nothing is said. */
export async function stick(options: StickOptions): Promise<string> {
  const { type, uuid, files = {}, isDamaged = false, isPartition = false } = options;
  const megabytes = isPartition ? PARTITION.megabytes : (options.megabytes ?? 32);
  const directory = await cached({
    kind: "images",
    name: `stick-${type}`,
    inputs: { RECIPE, type, uuid, files: describe(files), isDamaged, megabytes, isPartition },
    keep: 12,
    within: seconds(60),
    build: async (unfinished) => {
      const image = join(unfinished, "stick.img");
      writeFileSync(image, "");
      truncateSync(image, megabytes * 1024 ** 2);
      const tree = join(unfinished, "tree");
      writeTree(tree, files);
      await makers[type](image, uuid, tree, Object.keys(files));
      if (isDamaged) damage(image);
      if (isPartition) intoPartition(image);
    },
  });
  return join(directory, "stick.img");
}

function intoPartition(image: string): void {
  const filesystem = readFileSync(image);
  const whole = new Uint8Array(8 * 1024 ** 2);
  whole.set(readFileSync(join(repository, TABLE)));
  whole.set(filesystem, PARTITION.at);
  writeFileSync(image, whole);
}

function describe(files: Readonly<Record<string, StickFile>>): unknown {
  return Object.entries(files).map(([path, file]) =>
    typeof file === "string" || file instanceof Uint8Array ? [path, Bun.SHA256.hash(file, "hex")] : [path, file],
  );
}

function writeTree(tree: string, files: Readonly<Record<string, StickFile>>): void {
  mkdirSync(tree);
  for (const [path, file] of Object.entries(files)) {
    const target = join(tree, path);
    mkdirSync(dirname(target), { recursive: true });
    if (typeof file === "object" && "link" in file) symlinkSync(file.link, target);
    else writeFileSync(target, typeof file === "object" && "size" in file ? "" : file);
    if (typeof file === "object" && "size" in file) truncateSync(target, file.size);
  }
}

const making = { purpose: "making a stick", within: seconds(30) };

const makers: Readonly<
  Record<StickOptions["type"], (image: string, uuid: string, tree: string, paths: readonly string[]) => Promise<void>>
> = {
  vfat: async (image, uuid, tree, paths) => {
    await run(["mkfs.vfat", "-i", uuid.replace("-", ""), "-n", "LKUSB", image], making);
    for (const path of paths) await run(["mcopy", "-i", image, join(tree, path), `::${path}`], making);
  },
  ext4: async (image, uuid, tree) => {
    await run(["mkfs.ext4", "-q", "-F", "-U", uuid, "-d", tree, image], making);
  },
};

/** Zeros for the group descriptors of an ext4, which follow the superblock's block of 1024 or 4096 bytes. */
function damage(image: string): void {
  const file = openSync(image, "r+");
  writeSync(file, new Uint8Array(2048).fill(0xa5), 0, 2048, 2048);
  writeSync(file, new Uint8Array(4096).fill(0xa5), 0, 4096, 4096);
  closeSync(file);
}

/** A stick with a partition table and nothing but a key on its first partition, `1a2b3c4d-01`. */
export async function rawStick(key: string, offset: number): Promise<string> {
  const table = readFileSync(join(repository, TABLE));
  const directory = await cached({
    kind: "images",
    name: "stick-raw",
    inputs: { RECIPE, key, offset },
    keep: 4,
    within: seconds(60),
    build: async (unfinished) => {
      const image = join(unfinished, "stick.img");
      const bytes = new Uint8Array(8 * 1024 ** 2);
      bytes.set(table);
      bytes.set(new TextEncoder().encode(key), PARTITION.at + offset);
      writeFileSync(image, bytes);
    },
  });
  return join(directory, "stick.img");
}

/** The CD image of the fixtures, with `root.key` in it. */
export const isoStick = (): Promise<string> => unpacked("iso");

/** The exFAT of the fixtures, with `root.key` in it. */
export const exfatStick = (): Promise<string> => unpacked("exfat");

async function unpacked(type: "iso" | "exfat"): Promise<string> {
  const packed = readFileSync(join(repository, `test/fixtures/usb/stick.${type}.gz`));
  const directory = await cached({
    kind: "images",
    name: `stick-${type}`,
    inputs: { RECIPE, packed: Bun.SHA256.hash(packed, "hex") },
    keep: 2,
    within: seconds(60),
    build: (unfinished) => Promise.resolve(writeFileSync(join(unfinished, "stick.img"), Bun.gunzipSync(packed))),
  });
  return join(directory, "stick.img");
}

export interface VaultOptions {
  /** Of the LUKS header. */
  readonly uuid: string;
  readonly passphrase: string;
  readonly files: Readonly<Record<string, StickFile>>;
}

/** An encrypted stick: LUKS2 with an ext4 in it, encrypted where it lies, with the cheapest key derivation there is. */
export async function vaultStick({ uuid, passphrase, files }: VaultOptions): Promise<string> {
  const directory = await cached({
    kind: "images",
    name: "stick-luks2",
    inputs: { RECIPE, uuid, passphrase, files: describe(files) },
    keep: 4,
    within: seconds(60),
    build: async (unfinished) => {
      const image = join(unfinished, "stick.img");
      writeFileSync(image, "");
      truncateSync(image, 48 * 1024 ** 2);
      const tree = join(unfinished, "tree");
      writeTree(tree, files);
      await run(["mkfs.ext4", "-q", "-F", "-d", tree, image, "12M"], making);
      const cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
      const how = ["--encrypt", "--batch-mode", "--type", "luks2", ...cheap, "--reduce-device-size", "32M"];
      await run(["cryptsetup", "reencrypt", ...how, "--uuid", uuid, "--key-file", "-", image], {
        ...making,
        input: passphrase,
      });
    },
  });
  return join(directory, "stick.img");
}
