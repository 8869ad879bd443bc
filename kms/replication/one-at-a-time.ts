/** A queue of one: bootstrap and onboarding of a KMS must not run beside each other, nor beside themselves. */

export type OneAtATime = <T>(work: () => Promise<T>) => Promise<T>;

/** What comes second waits, and then finds what the first has made. */
export function oneAtATime(): OneAtATime {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const turn = last.then(work);
    last = turn.catch(() => undefined);
    return turn;
  };
}
