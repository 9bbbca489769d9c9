import { dlopen, FFIType } from "bun:ffi";
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  utimesSync,
} from "node:fs";
import { join, relative, resolve } from "node:path";
import { asRoot, run } from "./command.ts";
import { seconds } from "./patience.ts";

/** The repository, seen from this file: the harness works from any directory. */
export const repository = resolve(import.meta.dir, "../..");

/** Chroots, images, initrds and transcripts; safe to delete whenever no test runs. */
export const cacheDirectory = resolve(process.env["LATCHKEY_CACHE"] ?? join(repository, ".cache"));

const LOCK_EX_NB = 2 | 4;
const LOCK_POLL_MS = 200;

/** A machine that waits for its turn needs what was made for it. */
const IN_USE_MS = 3600_000;

let libc: ReturnType<typeof openLibc> | undefined;
function openLibc() {
  return dlopen("libc.so.6", { flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 } }).symbols;
}

/**
 * A lock that other processes see, or undefined when it is taken. flock(2) and not a lock directory: the kernel gives it
 * back when its holder dies, so there is no stale lock to judge.
 */
export function tryLock(name: string): Disposable | undefined {
  const directory = join(cacheDirectory, "locks");
  mkdirSync(directory, { recursive: true });
  libc ??= openLibc();
  const file = openSync(join(directory, name), "w");
  if (libc.flock(file, LOCK_EX_NB) === 0) return { [Symbol.dispose]: () => closeSync(file) };
  closeSync(file);
  return undefined;
}

/** Waits for the lock; the limit is that of the work done under it, which has its own limits. */
export async function lock(name: string, limit: number): Promise<Disposable> {
  const end = performance.now() + limit;
  for (;;) {
    const held = tryLock(name);
    if (held) return held;
    if (performance.now() > end) throw new Error(`lock ${name}: another process has held it for ${limit / 1000} s`);
    await Bun.sleep(LOCK_POLL_MS);
  }
}

/** Something that takes long to make and depends on nothing but its inputs. */
export interface Recipe {
  /** Folder of the cache: guests, images, initrds. */
  readonly kind: string;
  readonly name: string;
  /** Everything the result depends on; becomes JSON and then the key. Raise a number in it when the recipe changes. */
  readonly inputs: unknown;
  /** How many results of this name stay; the least recently used go, but none that was used within the last hour. */
  readonly keep: number;
  /** Milliseconds another process may take to make it before we give up. */
  readonly within: number;
  /** Fills an empty directory. A failed or interrupted attempt leaves nothing behind. */
  readonly build: (directory: string) => Promise<void>;
}

/** The directory that `recipe` makes: at once when it was made before, by this process or another. */
export async function cached(recipe: Recipe): Promise<string> {
  const key = createHash("sha256").update(JSON.stringify(recipe.inputs)).digest("hex").slice(0, 16);
  const folder = join(cacheDirectory, recipe.kind);
  const directory = join(folder, `${recipe.name}-${key}`);
  if (!existsSync(directory)) {
    mkdirSync(folder, { recursive: true });
    using _ = await lock(`${recipe.kind}-${recipe.name}-${key}`, recipe.within);
    if (!existsSync(directory)) {
      const unfinished = `${directory}.unfinished`;
      await removeAsRoot(unfinished);
      mkdirSync(unfinished);
      const started = performance.now();
      console.error(`vm: making ${recipe.kind}/${recipe.name}…`);
      await recipe.build(unfinished);
      await run(asRoot(["mv", "-T", unfinished, directory]), { purpose: "publishing", within: seconds(60) });
      console.error(
        `vm: made ${recipe.kind}/${recipe.name} in ${Math.round((performance.now() - started) / 100) / 10} s`,
      );
      await prune(folder, recipe.name, recipe.keep);
    }
  }
  utimesSync(directory, new Date(), new Date());
  return directory;
}

/** Removes a directory that may hold files of root, and says nothing when it is not there. */
export async function removeAsRoot(directory: string): Promise<void> {
  if (!existsSync(directory)) return;
  await run(asRoot(["rm", "-rf", "--one-file-system", directory]), {
    purpose: `removing ${directory}`,
    within: seconds(120),
  });
}

async function prune(folder: string, name: string, keep: number): Promise<void> {
  const sameName = new RegExp(`^${RegExp.escape(name)}-[0-9a-f]{16}$`);
  const byAge = readdirSync(folder)
    .filter((entry) => sameName.test(entry))
    .map((entry) => ({ path: join(folder, entry), used: statSync(join(folder, entry)).mtimeMs }))
    .sort((a, b) => b.used - a.used);
  for (const { path, used } of byAge.slice(keep)) if (Date.now() - used > IN_USE_MS) await removeAsRoot(path);
}

const knownHashes = new Map<string, string>();

/** A hash of a file's or a whole tree's names, kinds, modes and contents, for the inputs of a recipe. */
export function contentHash(path: string): string {
  const hash = createHash("sha256");
  const add = (entry: string): void => {
    const facts = lstatSync(entry);
    hash.update(`${relative(path, entry)}\0${facts.mode}\0`);
    if (facts.isSymbolicLink()) hash.update(readlinkSync(entry));
    else if (facts.isFile())
      hash.update(fileHash(entry, `${facts.ino} ${facts.size} ${facts.mtimeMs} ${facts.ctimeMs}`));
    else if (facts.isDirectory()) for (const name of readdirSync(entry).sort()) add(join(entry, name));
  };
  add(path);
  return hash.digest("hex");
}

/** Every case asks for the hash of the same hundred megabytes: read them once per state of the file. */
function fileHash(path: string, state: string): string {
  const key = `${path} ${state}`;
  const hash = knownHashes.get(key) ?? createHash("sha256").update(readFileSync(path)).digest("hex");
  knownHashes.set(key, hash);
  return hash;
}
