import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type CpioEntry, newc } from "./newc.ts";

interface Link {
  readonly link: string;
}

/** A file as its text or bytes (mode 0644), with a mode, or as a symbolic link. */
export type FileContent = string | Uint8Array | { readonly content: string | Uint8Array; readonly mode: number } | Link;

/** Files by absolute path. */
export type Files = Readonly<Record<string, FileContent>>;

const DIRECTORY = 0o040755;
const REGULAR = 0o100000;
const SYMLINK = 0o120777;

interface PlainFile {
  readonly bytes: Uint8Array;
  readonly mode: number;
}

const bytesOf = (content: string | Uint8Array): Uint8Array =>
  typeof content === "string" ? new TextEncoder().encode(content) : content;

function plain(file: Exclude<FileContent, Link>): PlainFile {
  if (typeof file === "string" || file instanceof Uint8Array) return { bytes: bytesOf(file), mode: 0o644 };
  return { bytes: bytesOf(file.content), mode: file.mode };
}

const isLink = (file: FileContent): file is Link => typeof file === "object" && "link" in file;

/** Writes the files below a directory of the host. */
export function writeFiles(directory: string, files: Files): void {
  for (const [path, file] of Object.entries(files)) {
    const target = join(directory, path);
    mkdirSync(dirname(target), { recursive: true });
    if (isLink(file)) {
      symlinkSync(file.link, target);
      continue;
    }
    const { bytes, mode } = plain(file);
    writeFileSync(target, bytes);
    chmodSync(target, mode);
  }
}

/**
 * The files as a compressed cpio that can be appended to an initrd: the kernel unpacks one after the other, and the later
 * file wins. No path may go through a symbolic link of the image (bin, lib, sbin are links; /usr/lib/dracut/hooks too):
 * the kernel would put a directory in the link's place.
 */
export function overlay(files: Files): Uint8Array {
  const entries = new Map<string, CpioEntry>();
  for (const [path, file] of Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const name = path.replace(/^\/+/, "");
    for (let cut = name.indexOf("/"); cut !== -1; cut = name.indexOf("/", cut + 1)) {
      const parent = name.slice(0, cut);
      if (!entries.has(parent)) entries.set(parent, { path: parent, mode: DIRECTORY, content: new Uint8Array(0) });
    }
    if (isLink(file)) entries.set(name, { path: name, mode: SYMLINK, content: bytesOf(file.link) });
    else {
      const { bytes, mode } = plain(file);
      entries.set(name, { path: name, mode: REGULAR | mode, content: bytes });
    }
  }
  return Bun.zstdCompressSync(newc([...entries.values()]), { level: 3 });
}
