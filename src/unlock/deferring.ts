import { escapeUnitName } from "../providers/luks/systemd-lane/cryptsetup-unit.ts";
import type { Clock } from "../system/clock.ts";
import type { Attempts } from "./attempts.ts";
import type { Board } from "./board.ts";
import type { Group } from "./groups.ts";
import type { Journal } from "./journal.ts";

/**
 * Milliseconds from the start in which devices come that were there when the machine was switched on. Nothing is left for later
 * before: otherwise it would be chance whether a data disk opens in the initrd, with one question for all.
 */
export const DEVICES_COME_WITHIN = 2_000;

interface DeferringParts {
  readonly clock: Clock;
  readonly board: Board;
  readonly journal: Journal;
  readonly groupOf: ReadonlyMap<string, Group>;
  readonly attempts: Pick<Attempts, "turnEnds">;
  /** The volumes this run is for; where nothing is said, all are waited for. */
  readonly needed: ReadonlySet<string> | undefined;
  /** Of the others, those that nobody is asked for alone: `nofail`. */
  readonly mayWait: ReadonlySet<string>;
  announce(line: string): void;
}

/** What the boot does not wait for once everything that the initrd needs is settled. */
export class Deferring {
  readonly #parts: DeferringParts;

  constructor(parts: DeferringParts) {
    this.#parts = parts;
  }

  /**
   * Nobody is asked for this volume: it may wait, and what the initrd needs is settled. Where a root was only guessed, and did not
   * come, it may lie in this very volume.
   */
  isLeftAlone(name: string): boolean {
    const { board, needed = new Set(), mayWait } = this.#parts;
    if (!mayWait.has(name)) return false;
    const others = [...needed];
    return others.every((one) => board.isSettled(one)) && others.some((one) => !board.isGuessUnmet(one));
  }

  /**
   * Settles them as deferred. Ends once nothing is left to wait for; without needed volumes never.
   * @param questionTime from when on a person is asked, who may take hours: until then automatic sources may open what may wait
   */
  async run(questionTime: Promise<void>, signal: AbortSignal): Promise<void> {
    const { attempts, board, clock, groupOf, needed } = this.#parts;
    if (!needed) return await new Promise<never>(() => undefined);
    await clock.sleep(DEVICES_COME_WITHIN, signal);
    let isQuestionTime = false;
    void questionTime.then(() => {
      isQuestionTime = true;
    });
    for (;;) {
      const isLate = (name: string): boolean => !needed.has(name) && !this.#isComplete(name);
      await board.until(
        () => board.records.every(({ name }) => board.isSettled(name) || isLate(name) || this.isLeftAlone(name)),
        signal,
      );
      if (signal.aborted) return;
      const open = board.records.filter(({ name }) => !board.isSettled(name));
      const there = open.filter(({ name }) => !isLate(name));
      const trying = there.flatMap(({ name }) => attempts.turnEnds(groupOf.get(name)) ?? []);
      if (there.length > 0 && !isQuestionTime) await questionTime;
      else if (trying.length > 0) await Promise.all(trying);
      else return this.#defer(open.map(({ name }) => name));
    }
  }

  #defer(names: readonly string[]): void {
    const { announce, board, groupOf, journal } = this.#parts;
    const reasons = new Map(names.map((name) => [name, this.#why(name)]));
    for (const [name, reason] of reasons) {
      const unit = `latchkey@${escapeUnitName(groupOf.get(name)?.name ?? name)}.service`;
      const text = `${reason}: left to the system that starts now, where ${unit} opens it`;
      journal.event(text, { volume: name });
      announce(`${name}: ${text}`);
      board.settle(name, "deferred");
    }
  }

  #why(name: string): string {
    if (this.#isComplete(name)) return "nothing has opened it, and the boot does not need it";
    return this.#parts.board.standing(name) === "waiting"
      ? "its device is not there yet"
      : "another member of its pool is not there yet";
  }

  /** Nothing of the volume's group is waited for any longer. */
  #isComplete(name: string): boolean {
    return isComplete(this.#parts.groupOf.get(name), this.#parts.board);
  }
}

/** Every volume of the group is there, or is known not to be. */
export function isComplete(group: Group | undefined, board: Board): boolean {
  return group?.volumes.every((member) => board.standing(member.name) !== "waiting") ?? true;
}
