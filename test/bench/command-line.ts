/** What `main.ts` was asked for. */
export interface Wish<Part extends string> {
  /** In the order of the page, each once. */
  readonly parts: readonly Part[];
  /** The sections of these parts are replaced in the page. */
  readonly isWriting: boolean;
  /** Other guests may run meanwhile: to see that something works, and not to measure. */
  readonly isBeside: boolean;
  /** So many pairs in each part instead of as many as it usually takes. */
  readonly pairs: number | undefined;
}

const MOST_PAIRS = 1000;

/** Reads the command line; undefined where it makes no sense. */
export function readWish<Part extends string>(
  words: readonly string[],
  known: readonly Part[],
): Wish<Part> | undefined {
  const chosen = new Set<string>();
  let isWriting = false;
  let isBeside = false;
  let pairs: number | undefined;
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] ?? "";
    if (word === "--write") isWriting = true;
    else if (word === "--beside-others") isBeside = true;
    else if (word === "--pairs") {
      index += 1;
      pairs = Number(words[index]);
      if (!Number.isInteger(pairs) || pairs < 1 || pairs > MOST_PAIRS) return undefined;
    } else if (known.some((part) => part === word)) chosen.add(word);
    else return undefined;
  }
  const parts = known.filter((part) => chosen.size === 0 || chosen.has(part));
  return { parts, isWriting, isBeside, pairs };
}
