/** Starts and stops servers. Every limit on what a stranger may hold open stands here, under a name. */
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttpsServer, Server as HttpsServer, type ServerOptions as TlsOptions } from "node:https";
import type { AddressInfo, Server as NetServer, Socket } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import { KmsError } from "../errors.ts";
import { refuseForeignCertificates } from "../ra-tls/server.ts";
import type { App } from "./framework.ts";
import type { Log } from "./log.ts";

export interface ListenerLimits {
  /** To the end of the TLS handshake. */
  readonly handshakeMs: number;
  /** To the end of the request's headers. */
  readonly headersMs: number;
  /** To the end of the request's body: a slow body is cut. */
  readonly requestMs: number;
  /** Between two requests of a connection. */
  readonly keepAliveMs: number;
  /** Without a byte in either direction, above the longest work of a method. */
  readonly silenceMs: number;
  /** How often the limits above are looked at. */
  readonly checkMs: number;
  readonly connections: number;
  readonly headerBytes: number;
  /** How long a stop waits for requests that run. */
  readonly drainMs: number;
}

export const listenerLimits: ListenerLimits = {
  handshakeMs: 10_000,
  headersMs: 10_000,
  requestMs: 60_000,
  keepAliveMs: 15_000,
  silenceMs: 180_000,
  checkMs: 1_000,
  connections: 2_048,
  headerBytes: 16_384,
  drainMs: 10_000,
};

const DRAIN_POLL_MS = 20;

/** For clients of HTTP/1.0 that name no host. */
const FALLBACK_HOST = "localhost";

export interface ListenOptions {
  readonly hostname: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Of `tlsServerOptions`; without it the listener is plain HTTP. */
  readonly tls?: TlsOptions;
  readonly log?: Log;
  readonly limits?: Partial<ListenerLimits>;
  /** Told of each connection that ended before it could send a request. */
  readonly onHandshakeFailure?: () => void;
}

export interface Listener {
  readonly url: string;
  /** Takes no more connections, ends idle ones, waits for running requests up to the limit, then cuts. */
  close(): Promise<void>;
}

export async function listen(app: App, options: ListenOptions): Promise<Listener> {
  const limits = { ...listenerLimits, ...options.limits };
  const server = createServer(app, options, limits);
  const activity = trackActivity(server);
  await bind(server, options);
  server.on("error", (error) => options.log?.error({ err: error }, "listener failed"));
  server.on("drop", () => options.log?.warn({ limit: limits.connections }, "connection dropped: too many"));
  const stop = () => drain(server, activity, limits.drainMs);
  let closing: Promise<void> | undefined;
  return {
    url: urlOf(server, options),
    close: () => {
      closing ??= stop();
      return closing;
    },
  };
}

type HttpServer = ReturnType<typeof createHttpServer>;

function createServer(app: App, { tls, onHandshakeFailure }: ListenOptions, limits: ListenerLimits): HttpServer | HttpsServer {
  const http = {
    headersTimeout: limits.headersMs,
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.keepAliveMs,
    connectionsCheckingInterval: limits.checkMs,
    maxHeaderSize: limits.headerBytes,
  };
  const server =
    tls === undefined
      ? createAdaptorServer({ fetch: app.fetch, hostname: FALLBACK_HOST, createServer: createHttpServer, serverOptions: http })
      : createAdaptorServer({
          fetch: app.fetch,
          hostname: FALLBACK_HOST,
          createServer: createHttpsServer,
          serverOptions: { ...tls, ...http, handshakeTimeout: limits.handshakeMs },
        });
  if (!("closeIdleConnections" in server)) throw new TypeError("not an HTTP/1.1 server");
  server.maxConnections = limits.connections;
  server.timeout = limits.silenceMs;
  if (server instanceof HttpsServer) {
    refuseForeignCertificates(server, onHandshakeFailure);
    server.on("tlsClientError", () => onHandshakeFailure?.());
  }
  return server;
}

interface Activity {
  /** All sockets, those in a handshake too: the server's own list knows only the ones that speak HTTP. */
  readonly sockets: ReadonlySet<Socket>;
  readonly running: () => number;
}

function trackActivity(server: HttpServer | HttpsServer): Activity {
  const sockets = new Set<Socket>();
  let running = 0;
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.prependListener("request", (_request, response) => {
    running += 1;
    response.once("close", () => {
      running -= 1;
    });
  });
  return { sockets, running: () => running };
}

async function bind(server: NetServer, { hostname, port }: ListenOptions): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(port, hostname, resolve);
  try {
    await promise;
  } catch (cause) {
    throw new KmsError("fault.start", `cannot listen on ${hostname} port ${port}`, { cause });
  } finally {
    server.removeListener("error", reject);
  }
}

function urlOf(server: NetServer, { hostname, tls }: ListenOptions): string {
  const { port } = addressOf(server);
  return `${tls === undefined ? "http" : "https"}://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}

function addressOf(server: NetServer): AddressInfo {
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("the server is not bound to a port");
  return address;
}

/** Ends idle connections again and again, as each is kept open for a next request, and silent ones once nothing runs. */
async function drain(server: HttpServer | HttpsServer, { sockets, running }: Activity, drainMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  server.close(() => resolve());
  const poll = setInterval(() => (running() === 0 ? cut() : server.closeIdleConnections()), DRAIN_POLL_MS);
  const limit = setTimeout(cut, drainMs);
  await promise;
  clearInterval(poll);
  clearTimeout(limit);
}
