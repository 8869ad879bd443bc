/** The listener: explicit limits on connections and time, and an end that lets running requests finish. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import type { App } from "./app.ts";

const limits = {
  minConnections: 1024,
  /** For the fast refusals, and for the routes that take no place. */
  connectionsPerPlace: 4,
  headersTimeoutMs: 5_000,
  requestTimeoutMs: 10_000,
  keepAliveTimeoutMs: 30_000,
  maxHeaderBytes: 16 * 1024,
  /** Beyond the deadline, for the answer to be written. */
  drainMarginMs: 1_000,
};

export interface Listener {
  readonly url: string;
  close(): Promise<void>;
}

export interface ListenLimits {
  /** Of a decision: running requests get it to end in. */
  readonly deadlineMs?: number | undefined;
  readonly maxConcurrent?: number;
}

export async function listen(
  app: Pick<App, "fetch">,
  host: string,
  port: number,
  { deadlineMs = 5_000, maxConcurrent = 0 }: ListenLimits = {},
): Promise<Listener> {
  let isStopping = false;
  const server = createAdaptorServer({
    async fetch(...request) {
      const response = await app.fetch(...request);
      if (isStopping) response.headers.set("connection", "close"); // a client would reuse it just as it ends
      return response;
    },
    overrideGlobalObjects: false,
    createServer,
    serverOptions: {
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      maxHeaderSize: limits.maxHeaderBytes,
      connectionsCheckingInterval: 1_000,
    },
  }) as ReturnType<typeof createServer>; // the adaptor returns what createServer made
  server.maxConnections = Math.max(limits.minConnections, limits.connectionsPerPlace * maxConcurrent);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  const address = server.address() as AddressInfo; // listening on TCP
  const name = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return {
    url: `http://${name}:${address.port}`,
    close: () =>
      new Promise((resolve) => {
        isStopping = true;
        const force = setTimeout(() => server.closeAllConnections(), deadlineMs + limits.drainMarginMs);
        server.close(() => {
          clearTimeout(force);
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}
