/** What every process of a bench does: tell its parent where it listens, and end with it. */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";

/** The channel to the parent closes even when the parent is killed outright, so nothing is left behind. */
export function endWithParent(): void {
  process.once("disconnect", () => process.exit(0));
}

export function announce(url: string): void {
  process.send?.({ url });
}

export async function listenOnLoopback(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`; // listening on TCP
}
