import { describe, expect, test } from "bun:test";
import { comparisonTable, grouped, many, median, quantile, ratios, spread, table } from "../../bench/figures.ts";

describe("medians and spreads", () => {
  test("a value between two neighbours is interpolated", () => {
    expect(quantile([4, 1, 3, 2], 0.25)).toBe(1.75);
    expect(median([9, 1, 5])).toBe(5);
    expect(() => median([])).toThrow("no values");
  });

  test("few values show the lowest and the highest, many the middle half", () => {
    expect(spread([3, 1, 2], 1)).toBe("2.0 (1.0–3.0)");
    expect(spread([1, 2, 3, 4, 5, 6, 7, 8, 100], 0)).toBe("5 (3–7)");
  });

  test("the ratio is that of the pairs, and not of the medians", () => {
    expect(ratios([1, 20], [2, 10])).toEqual([0.5, 2]);
    expect(() => ratios([1], [])).toThrow("without a partner");
    expect(comparisonTable(["a", "b"], [{ what: "wall", ours: [1, 20, 3], theirs: [2, 10, 30], digits: 0 }])).toBe(
      "| | a | b | ratio of pairs |\n| --- | ---: | ---: | ---: |\n| wall | 3 (1–20) | 10 (2–30) | 0.50 (0.10–2.00) |",
    );
  });
});

test("an empty cell has one space, and numbers are grouped", () => {
  expect(table(["", "x"], [["", "1"]])).toBe("| | x |\n| --- | ---: |\n| | 1 |");
  expect(grouped(109533360.4)).toBe("109,533,360");
});

test("one is not many", () => {
  expect([many(1, "pair"), many(3, "pair")]).toEqual(["1 pair", "3 pairs"]);
});
