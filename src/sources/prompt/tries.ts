import { LatchkeyError } from "../../system/errors.ts";
import type { OfferResult, SourceContext, WantedVolume } from "../source.ts";

/** Counts wrong answers for volumes whose owner limits them (`tries=` of crypttab(5)): then nobody is asked for them any longer. */
export class Tries {
  readonly #limits: ReadonlyMap<string, number>;
  readonly #wrong = new Map<string, number>();

  /** @param limits by volume; those that are not in it have none */
  constructor(limits: ReadonlyMap<string, number> = new Map()) {
    this.#limits = limits;
  }

  /** The same context without the volumes whose tries are used up. */
  limit(context: SourceContext): SourceContext {
    if (this.#limits.size === 0) return context;
    const left = (all: readonly WantedVolume[]) => all.filter(({ name }) => !this.#isUsedUp(name));
    const wanted = async (): Promise<readonly WantedVolume[]> => {
      for (;;) {
        const all = await context.wanted();
        const some = left(all);
        if (some.length > 0 || all.length === 0 || !mayStillCome(context)) return some;
        await nextChange(context);
      }
    };
    return {
      ...context,
      signal: context.signal,
      onChange: (listener) => context.onChange(listener),
      progress: () => context.progress(),
      nothingYet: (reason) => context.nothingYet(reason),
      note: (text) => context.note(text),
      wanted,
      offer: async (secret, volumes) => {
        const all = this.#usedUp.length === 0 ? volumes : left(await context.wanted()).map(({ name }) => name);
        const result = await context.offer(secret, all);
        this.#count(result);
        return result;
      },
    };
  }

  /** @throws LatchkeyError prompt/tries-used-up where they are, for some volume */
  check(): void {
    const [first] = this.#usedUp;
    if (first === undefined) return;
    const count = this.#limits.get(first) ?? 0;
    const what = `${this.#usedUp.join(", ")}: ${count} wrong ${count === 1 ? "answer was" : "answers were"} given`;
    throw new LatchkeyError("prompt/tries-used-up", `${what}, and crypttab allows no more (tries=${count})`);
  }

  get #usedUp(): readonly string[] {
    return [...this.#limits.keys()].filter((name) => this.#isUsedUp(name));
  }

  #isUsedUp(name: string): boolean {
    return (this.#wrong.get(name) ?? 0) >= (this.#limits.get(name) ?? Number.POSITIVE_INFINITY);
  }

  #count({ errors }: OfferResult): void {
    for (const [name, error] of errors) {
      if (error.outcome === "wrong-credential") this.#wrong.set(name, (this.#wrong.get(name) ?? 0) + 1);
    }
  }
}

function mayStillCome(context: SourceContext): boolean {
  return !context.signal.aborted && context.progress().volumes.some(({ standing }) => standing === "waiting");
}

function nextChange(context: SourceContext): Promise<void> {
  return new Promise((resolve) => {
    context.onChange(resolve);
    context.signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
