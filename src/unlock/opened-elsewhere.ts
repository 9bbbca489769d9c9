import type { FoundVolume } from "../providers/provider.ts";
import type { Clock } from "../system/clock.ts";
import type { Board } from "./board.ts";

/** Milliseconds between two looks: a question that nobody needs to answer any longer holds up the boot by no more than this. */
export const LOOK_EVERY = 1000;

export interface WatchParts {
  readonly board: Board;
  readonly clock: Clock;
  /** Aborted when the run is over. */
  readonly signal: AbortSignal;
  /** Runs `action` when nothing is being tried on the volume. */
  inTurn(volume: string, action: () => Promise<void>): Promise<void>;
  /** The volume is open, and not by us. */
  opened(found: FoundVolume): void;
}

/**
 * Notices closed volumes that somebody else opens: systemd-cryptsetup by a token that only it knows, a person at another
 * question. Whoever waits for such a volume would wait for ever.
 */
export function watchForOthers(parts: WatchParts): void {
  const { board, signal } = parts;
  let isWatching = false;
  const begin = (): void => {
    if (isWatching || watched(board).length === 0) return;
    isWatching = true;
    void watch(parts).then(() => {
      isWatching = false;
    });
  };
  board.onChange(begin, signal);
}

const watched = (board: Board): readonly FoundVolume[] => board.closed.filter((found) => found.isOpenNow !== undefined);

/** Until none is left to watch. */
async function watch({ board, clock, signal, inTurn, opened }: WatchParts): Promise<void> {
  for (;;) {
    await clock.sleep(LOOK_EVERY, signal);
    if (signal.aborted || watched(board).length === 0) return;
    for (const found of watched(board)) {
      if (!(await isOpen(found))) continue;
      // An attempt of our own may have opened it, and will say so; or it has closed it again.
      await inTurn(found.name, async () => {
        if (!signal.aborted && board.standing(found.name) === "closed" && (await isOpen(found))) opened(found);
      });
    }
  }
}

/** Where it cannot be found out it is closed. */
async function isOpen(found: FoundVolume): Promise<boolean> {
  return (await found.isOpenNow?.().catch(() => false)) ?? false;
}
