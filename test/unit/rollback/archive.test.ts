import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { archiveName, expired } from "../../../src/rollback/archive.ts";

const now = new Date("2026-11-22T16:33:05.700Z");
const day = (number: number): string => `2026-11-${String(number).padStart(2, "0")}T08-00-00Z`;

describe("names of old roots", () => {
  test("are the time of the boot, and sort by it", () => {
    expect(archiveName(now, new Set())).toBe("2026-11-22T16-33-05Z");
  });

  test("get a number where the second is taken", () => {
    const taken = new Set(["2026-11-22T16-33-05Z", "2026-11-22T16-33-05Z.2"]);
    expect(archiveName(now, taken)).toBe("2026-11-22T16-33-05Z.3");
  });
});

describe("old roots to delete", () => {
  test("are those beyond the number, oldest first", () => {
    expect(expired([day(20), day(22), day(18), day(21)], now, { keep: 2, keepDays: 30 })).toEqual([day(18), day(20)]);
  });

  test("are those beyond the age", () => {
    expect(expired([day(1), day(14), day(15), day(21)], now, { keep: 10, keepDays: 7 })).toEqual([
      day(1),
      day(14),
      day(15),
    ]);
  });

  test("are not the newest, however old", () => {
    expect(expired([day(1), day(2)], now, { keep: 10, keepDays: 1 })).toEqual([day(1)]);
  });

  test("are not what was archived just now by a clock that has gone back, and that takes the place of the newest", () => {
    const names = Array.from({ length: 10 }, (_, index) => day(10 + index));
    const back = new Date("2025-01-01T00:00:10Z");
    const mine = archiveName(back, new Set(names));
    const gone = (keep: number, ...made: readonly string[]) =>
      expired([...names, ...made], back, { keep, keepDays: 30 }, new Set(made));
    expect(gone(10, mine)).toEqual([day(10)]);
    expect(gone(1, mine)).toEqual(names);
    expect(gone(1, mine, `${mine}.2`)).toEqual(names);
  });

  test("are all of them when none shall be kept", () => {
    expect(expired([day(1), day(2)], now, { keep: 0, keepDays: 30 })).toEqual([day(1), day(2)]);
    expect(expired([day(1), day(2)], now, { keep: 0, keepDays: 30 }, new Set([day(2)]))).toEqual([day(1), day(2)]);
  });

  test("of one second go by their numbers", () => {
    const names = [day(1), `${day(1)}.10`, `${day(1)}.2`];
    expect(expired(names, now, { keep: 1, keepDays: 365 })).toEqual([day(1), `${day(1)}.2`]);
  });

  test.each([
    "@root",
    "2026-11-22",
    "2026-13-40T08-00-00Z",
    "2026-11-01T08-00-00Z.bak",
    "2026-11-01T08:00:00Z",
    "keep",
  ])("are not %s, which is not ours", (name) => {
    expect(expired([name, day(1), day(2)], now, { keep: 1, keepDays: 1 })).toEqual([day(1)]);
  });

  test("whatever the clock says, the newest stays, and foreign names too", () => {
    const time = fc.date({ min: new Date("1970-01-01"), max: new Date("2099-12-31"), noInvalidDate: true });
    const names = fc.uniqueArray(
      time.map((date) => archiveName(date, new Set())),
      { minLength: 1 },
    );
    fc.assert(
      fc.property(
        names,
        time,
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 400 }),
        (all, clock, keep, keepDays) => {
          const gone = expired([...all, "foreign"], clock, { keep, keepDays });
          const left = all.filter((name) => !gone.includes(name));
          expect(left).toContain(all.toSorted().at(-1) ?? "");
          expect(left.length).toBeLessThanOrEqual(keep);
          expect(gone).not.toContain("foreign");
          expect(gone).toEqual(gone.toSorted());
        },
      ),
    );
  });
});
