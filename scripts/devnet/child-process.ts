/** What every process of the local stack does: say when it listens, end on a signal, and end when its parent is gone. */
import type { Server } from "node:http";

const closeGraceMs = 2_000;

/** One JSON line on stdout; the parent waits for it. */
export function announce(fields: Readonly<Record<string, unknown>>): void {
  process.stdout.write(`${JSON.stringify({ msg: "listening", ...fields })}\n`);
}

/** stdin is a pipe from the parent: it closes even when the parent is killed outright, so nothing is left behind. */
export function endWithParent(stop: () => Promise<void>): void {
  let isStopping = false;
  const end = () => {
    if (isStopping) process.exit(1);
    isStopping = true;
    setTimeout(() => process.exit(1), closeGraceMs).unref();
    stop().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  };
  process.once("SIGTERM", end).once("SIGINT", end);
  process.stdin.once("end", end).once("error", end).resume();
}

export function closeServer(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.close((error) => (error === undefined ? resolve() : reject(error)));
    server.closeAllConnections();
  });
}

export function required(value: string | undefined, flag: string): string {
  if (value !== undefined && value !== "") return value;
  process.stderr.write(`missing --${flag}\n`);
  process.exit(2);
}
