/** Bounded concurrency without a queue: a request takes a place at once or is refused at once. */

export interface Slots {
  /** The release of the place taken, or undefined when all are taken. */
  take(): (() => void) | undefined;
}

/** `observe` is told how many places are taken. */
export function createSlots(limit: number, observe: (taken: number) => void = () => undefined): Slots {
  let taken = 0;
  const change = (by: 1 | -1): void => {
    taken += by;
    observe(taken);
  };
  return {
    take() {
      if (taken >= limit) return undefined;
      change(1);
      return () => change(-1);
    },
  };
}

/** Callers that come while the work runs share it: however many ask, it runs once at a time. */
export function sharedWhileRunning<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => {
    running ??= work().finally(() => {
      running = undefined;
    });
    return running;
  };
}
