/** How long something took as this process could notice: on a busy machine it stands still for a while, and what waits in it waits no longer. */

export interface Timed<T> {
  readonly answer: T;
  readonly ms: number;
}

const tickMs = 5;
/** A tick that comes later than this came to a process that had no turn. */
const maxTickMs = 25;

/** A wait for a timer counts in full; a pause of the whole process, or a long piece of work on its thread, hardly at all. */
export async function timed<T>(work: Promise<T>): Promise<Timed<T>> {
  let ms = 0;
  let last = performance.now();
  const tick = () => {
    const now = performance.now();
    ms += Math.min(maxTickMs, now - last);
    last = now;
  };
  const timer = setInterval(tick, tickMs);
  try {
    const answer = await work;
    tick();
    return { answer, ms };
  } finally {
    clearInterval(timer);
  }
}
