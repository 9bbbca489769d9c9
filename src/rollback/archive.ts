/** Names of old roots in the archive, and which of them are to go. Pure. */

export interface Retention {
  /** So many old roots are kept at most, the newest ones. */
  readonly keep: number;
  /** Days: older ones go, except the newest. */
  readonly keepDays: number;
}

const DAY = 24 * 60 * 60 * 1000;
/** The time of the boot that replaced the root, in UTC, without colons; a number where the second is taken. */
const NAME = /^(\d{4})-(\d\d)-(\d\d)T(\d\d)-(\d\d)-(\d\d)Z(?:\.(\d{1,4}))?$/;
/** As many as one second may have. */
const MOST_OF_A_SECOND = 9999;

/** `2026-11-22T16-33-05Z`, or with `.2` and so on where that is taken. */
export function archiveName(now: Date, taken: ReadonlySet<string>): string {
  const name = `${now.toISOString().slice(0, 19).replaceAll(":", "-")}Z`;
  if (!taken.has(name)) return name;
  let number = 2;
  while (taken.has(`${name}.${number}`) && number < MOST_OF_A_SECOND) number += 1;
  return `${name}.${number}`;
}

/** Milliseconds since 1970 and the number within that second; undefined for a name that is not one of ours. */
function placeInTime(name: string): readonly [number, number] | undefined {
  const match = NAME.exec(name);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second, number = "1"] = match;
  const time = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(time) ? undefined : [time, Number(number)];
}

/**
 * The old roots to delete, oldest first. Names that are not ours are never among them. A clock that is wrong by years deletes
 * by age all but the newest, and no more than that.
 * @param made names that were given just now: the newest, whatever the clock made of them, which go only where none is to be
 * kept. A machine whose clock has lost its battery would otherwise throw away the root that it has only now taken off.
 */
export function expired(
  names: readonly string[],
  now: Date,
  { keep, keepDays }: Retention,
  made: ReadonlySet<string> = new Set(),
): readonly string[] {
  const roots = names
    .flatMap((name) => {
      const place = placeInTime(name);
      return place === undefined ? [] : [{ name, time: place[0], number: place[1], isNew: made.has(name) }];
    })
    .sort((a, b) => Number(b.isNew) - Number(a.isNew) || b.time - a.time || b.number - a.number);
  const gone = roots.filter(
    ({ time, isNew }, index) =>
      (!isNew || keep === 0) && (index >= keep || (index > 0 && now.getTime() - time > keepDays * DAY)),
  );
  return gone.map(({ name }) => name).reverse();
}
