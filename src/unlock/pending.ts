/** Keeps a promise in a set as long as it has no result. */
export function held<T>(set: Set<Promise<unknown>>, promise: Promise<T>): Promise<T> {
  set.add(promise);
  const end = (): void => void set.delete(promise);
  promise.then(end, end);
  return promise;
}

/** Resolves when the set is empty, also of what is added meanwhile. */
export async function endOf(set: ReadonlySet<Promise<unknown>>): Promise<void> {
  while (set.size > 0) await Promise.allSettled(set);
}
