/** docs/bench.md: one section per part of the benchmark, so that a part can be measured again without the others. */

const HEAD = `# Measured

<!-- made by \`npm run bench -- --write [PART…]\`, which replaces the sections of these parts -->

latchkey beside what is used without it, on one machine, in alternating pairs: latchkey, the other, latchkey, the other.
Each figure is a median, with the range of the middle half behind it, or with fewer than eight values from the lowest to the highest.
The ratio is that of the two figures of each pair; below 1 the first column needs less. Sections were measured apart: below each
stands when, with which build, and the load average of the minute before.
`;

const mark = (part: string): string => `<!-- part: ${part} -->`;
const MARK = /^<!-- part: ([\w-]+) -->$/m;

/** The sections of a page by the name of their part. */
export function sectionsOf(page: string): ReadonlyMap<string, string> {
  const [, ...pieces] = page.split(MARK);
  const sections = new Map<string, string>();
  for (let index = 0; index + 1 < pieces.length; index += 2) {
    sections.set(pieces[index] ?? "", (pieces[index + 1] ?? "").trim());
  }
  return sections;
}

/**
 * The page with these sections in the place of their old ones, and all others as they were.
 * @param order the parts there are, in the order of the page; a section of no part is not kept
 */
export function pageWith(page: string, fresh: ReadonlyMap<string, string>, order: readonly string[]): string {
  const sections = new Map([...sectionsOf(page), ...fresh]);
  const known = order.flatMap((part) => {
    const text = sections.get(part);
    return text === undefined ? [] : [`${mark(part)}\n${text.trim()}\n`];
  });
  return [HEAD, ...known].join("\n");
}

/** A section with its circumstances below it. */
export function stamped(section: string, facts: readonly string[]): string {
  return `${section.trim()}\n\n<sub>${facts.join(" · ")}</sub>`;
}
