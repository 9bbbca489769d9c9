import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pageWith, sectionsOf, stamped } from "../../bench/page.ts";
import { partNames } from "../../bench/parts.ts";

const ORDER = ["unlock", "pool", "boots"];
const whole = pageWith("", new Map(ORDER.map((part) => [part, `## About ${part}\n\ntext of ${part}`])), ORDER);

describe("the page of figures", () => {
  test("has its sections in the order of the parts, whatever came first", () => {
    const made = [...ORDER].reverse().reduce((page, part) => {
      return pageWith(page, new Map([[part, `## About ${part}\n\ntext of ${part}`]]), ORDER);
    }, "");
    expect(made).toBe(whole);
    expect([...sectionsOf(whole).keys()]).toEqual(ORDER);
  });

  test("a part that is measured again replaces its own section and no other", () => {
    const page = pageWith(whole, new Map([["pool", "## About pool\n\nnew"]]), ORDER);
    expect(page).toBe(whole.replace("text of pool", "new"));
  });

  test("writing the same again changes nothing", () => {
    expect(pageWith(whole, sectionsOf(whole), ORDER)).toBe(whole);
  });

  test("the section of a part that is no more goes", () => {
    const page = pageWith(whole, new Map(), ["unlock", "boots"]);
    expect([...sectionsOf(page).keys()]).toEqual(["unlock", "boots"]);
    expect(page).not.toContain("text of pool");
  });

  test("a section has below it what it was measured on", () => {
    expect(stamped("## About\n\n| table |\n\n", ["one", "two"])).toBe("## About\n\n| table |\n\n<sub>one · two</sub>");
  });
});

describe("docs/bench.md", () => {
  const text = readFileSync(join(import.meta.dir, "../../../docs/bench.md"), "utf8");

  test("is as the benchmark would write it", () => {
    expect(pageWith(text, new Map(), partNames)).toBe(text);
  });

  test.each([...sectionsOf(text)])(
    "the section of %s says when, with which build and under which load",
    (_, section) => {
      expect(section).toMatch(
        /<sub>measured \d{4}-\d\d-\d\d · load average [\d.]+.* · latchkey \S+ \(build [0-9a-f]{16}\) · .*<\/sub>$/,
      );
    },
  );
});
