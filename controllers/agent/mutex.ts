/** Runs actions of the same key one after another, those of different keys side by side. */
export interface KeyedMutex {
  run<T>(key: string, action: () => Promise<T>): Promise<T>;
}

export function createKeyedMutex(): KeyedMutex {
  const tails = new Map<string, Promise<unknown>>();
  return {
    run(key, action) {
      const before = tails.get(key) ?? Promise.resolve();
      const result = before.then(action, action);
      const tail = result.then(
        () => undefined,
        () => undefined,
      );
      tails.set(key, tail);
      void tail.then(() => {
        if (tails.get(key) === tail) tails.delete(key);
      });
      return result;
    },
  };
}
