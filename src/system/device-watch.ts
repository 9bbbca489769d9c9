import { type FSWatcher, watch } from "node:fs";
import { monotonicClock } from "./clock.ts";

/** Milliseconds after which waiters look again without having been told: for a /dev that gives no notice. */
const HEARTBEAT = 1000;
/** Milliseconds to collect what comes together: udev makes several links per device. Also bounds how often we look. */
const SETTLE = 50;

/** Below /dev; the deeper ones appear only with the first device that has such a link. */
const FOLDERS = [
  "",
  "disk",
  "disk/by-uuid",
  "disk/by-label",
  "disk/by-partuuid",
  "disk/by-partlabel",
  "disk/by-id",
  "mapper",
];

/**
 * Yields when names appear or vanish in the folders where device nodes and udev's links are (inotify), and every second
 * in any case. Writes to nodes are no news: /dev/null is written to all the time.
 */
export async function* watchDevices(dev: string, signal: AbortSignal): AsyncGenerator<void> {
  using watchers = new FolderWatchers(FOLDERS.map((folder) => (folder === "" ? dev : `${dev}/${folder}`)));
  while (!signal.aborted) {
    await watchers.news(signal);
    if (signal.aborted) return;
    await monotonicClock.sleep(SETTLE, signal);
    if (signal.aborted) return;
    watchers.settle();
    yield;
  }
}

class FolderWatchers implements Disposable {
  readonly #folders: readonly string[];
  readonly #watchers = new Map<string, FSWatcher>();
  #hasNews = false;
  #wake: () => void = () => undefined;

  constructor(folders: readonly string[]) {
    this.#folders = folders;
    this.settle();
  }

  /** Forgets the news so far, and watches folders that have come since. */
  settle(): void {
    this.#hasNews = false;
    for (const folder of this.#folders) {
      if (this.#watchers.has(folder)) continue;
      try {
        const watcher = watch(folder, { persistent: false }, (event) => {
          if (event === "rename") this.#notice();
        });
        watcher.on("error", () => this.#forget(folder));
        this.#watchers.set(folder, watcher);
      } catch {
        // Not there yet, or out of inotify watches: the heartbeat serves.
      }
    }
  }

  /** Resolves at the next change, after a heartbeat, or when the signal is aborted. */
  async news(signal: AbortSignal): Promise<void> {
    if (this.#hasNews) return;
    const heard = new AbortController();
    this.#wake = () => heard.abort();
    await monotonicClock.sleep(HEARTBEAT, AbortSignal.any([signal, heard.signal]));
  }

  #notice(): void {
    this.#hasNews = true;
    this.#wake();
  }

  /** A folder that was removed loses its watch; it is watched again when it comes back. */
  #forget(folder: string): void {
    this.#watchers.get(folder)?.close();
    this.#watchers.delete(folder);
    this.#notice();
  }

  [Symbol.dispose](): void {
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }
}
