/** What every process of the simulator does: say when it listens, and end on a signal or when its parent is gone. */
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
    if (isStopping) return;
    isStopping = true;
    setTimeout(() => process.exit(1), closeGraceMs).unref();
    stop().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  };
  process.on("SIGTERM", end).on("SIGINT", end);
  process.stdin.once("end", end).on("error", end).resume();
}

/** A simulated TEE next to real secrets would be a way around them. */
export function refuseProduction(): void {
  if (process.env["NODE_ENV"] !== "production") return;
  process.stderr.write("a simulated TEE does not run with NODE_ENV=production\n");
  process.exit(2);
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
