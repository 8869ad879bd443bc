/** HTTP over kept-alive sockets of its own: no redirect, no proxy, no decoding; bounded in time by a signal, in size by a limit. */
import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { urlToHttpOptions } from "node:url";

export type ExchangeFailure = "network" | "timeout" | "too-large";

/** Carries only the kind: the text of a network error names the endpoint, and an endpoint may carry credentials. */
export class ExchangeError extends Error {
  readonly kind: ExchangeFailure;
  /** It was sent once, and no byte of an answer came: sending it again costs one attempt and is no second answer. */
  readonly isRepeatable: boolean;

  constructor(kind: ExchangeFailure, options?: { cause?: unknown; isRepeatable?: boolean }) {
    super(`exchange failed: ${kind}`, options);
    this.name = "ExchangeError";
    this.kind = kind;
    this.isRepeatable = options?.isRepeatable ?? false;
  }
}

export interface Endpoint {
  /** Without credentials. */
  readonly url: string;
  readonly isTls: boolean;
  readonly target: { readonly hostname: string; readonly port: string | number; readonly path: string };
  readonly authorization: string | undefined;
}

/** RPC vendors hand out URLs with a user name and a password: they travel as Basic authorization. Throws on bad escapes in them. */
export function endpointOf(text: string): Endpoint {
  const url = new URL(text);
  const credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  const authorization = credentials === ":" ? undefined : `Basic ${Buffer.from(credentials, "utf8").toString("base64")}`;
  url.username = "";
  url.password = "";
  const { hostname, port, path } = urlToHttpOptions(url);
  const isTls = url.protocol === "https:";
  const target = { hostname: hostname ?? "", port: port ?? (isTls ? 443 : 80), path: path ?? "/" };
  return { url: authorization === undefined ? text : url.href, isTls, target, authorization };
}

export interface Exchange {
  readonly method: "GET" | "POST";
  readonly headers?: Record<string, string>;
  readonly body?: string;
  readonly signal: AbortSignal;
  readonly maxResponseBytes: number;
}

export interface ExchangeAnswer {
  readonly status: number;
  readonly body: Uint8Array;
}

export interface Exchanger {
  /** A redirect is an answer like any other: the address that decides key release is the one that was configured. */
  exchange(endpoint: Endpoint, input: Exchange): Promise<ExchangeAnswer>;
  /** Ends every socket: what still runs fails, and so does what comes after. */
  close(): void;
}

/** To one host; what is over it waits, no longer than its signal. */
export const defaultMaxSockets = 256;

export function createExchanger({ maxSockets = defaultMaxSockets }: { maxSockets?: number } = {}): Exchanger {
  const kept = createAgents({ keepAlive: true, maxSockets, scheduling: "lifo" });
  const fresh = createAgents({ keepAlive: false, maxSockets });
  let isClosed = false;
  return {
    async exchange(endpoint, input) {
      if (isClosed) throw new ExchangeError("network");
      try {
        return await send(endpoint, input, kept);
      } catch (error) {
        if (!(error instanceof StaleSocketError) || isClosed) throw error;
        return await send(endpoint, input, fresh); // the other idle sockets may be as dead as this one
      }
    },
    close() {
      isClosed = true;
      for (const agent of [kept.http, kept.https, fresh.http, fresh.https]) agent.destroy();
    },
  };
}

type Agents = ReturnType<typeof createAgents>;

function createAgents(options: { keepAlive: boolean; maxSockets: number; scheduling?: "lifo" }) {
  // said aloud, so that no variable of the environment turns the check of certificates off
  return { http: new HttpAgent(options), https: new HttpsAgent({ ...options, rejectUnauthorized: true }), ...options };
}

/** The server ended an idle socket just when it was taken for this request (RFC 9112 section 9.3.1): nobody has read the request. */
class StaleSocketError extends ExchangeError {}

function send(endpoint: Endpoint, input: Exchange, agents: Agents): Promise<ExchangeAnswer> {
  const { signal, maxResponseBytes } = input;
  const { promise, resolve, reject } = Promise.withResolvers<ExchangeAnswer>();
  if (signal.aborted) return Promise.reject(new ExchangeError("timeout"));
  const request = open(endpoint, input, agents);
  let bytesBefore = 0;
  const fail = (error: ExchangeError) => {
    reject(error);
    request.destroy();
  };
  const onAbort = () => fail(new ExchangeError("timeout"));
  const onError = (cause: unknown) => {
    const isRepeatable = agents.keepAlive && (request.socket?.bytesRead ?? 0) <= bytesBefore;
    const isStale = isRepeatable && request.reusedSocket && isReset(cause);
    fail(isStale ? new StaleSocketError("network", { cause }) : new ExchangeError("network", { cause, isRepeatable }));
  };
  signal.addEventListener("abort", onAbort, { once: true });
  request.on("socket", (socket) => {
    bytesBefore = socket.bytesRead;
  });
  request.on("error", onError);
  request.on("response", (response) => collect(response, maxResponseBytes, resolve, fail));
  request.end(input.body);
  return promise.finally(() => signal.removeEventListener("abort", onAbort));
}

function open({ isTls, target, authorization }: Endpoint, { method, headers }: Exchange, agents: Agents): ClientRequest {
  const options = { ...target, method, headers: { ...headers, ...(authorization !== undefined && { authorization }) } };
  return isTls ? httpsRequest({ ...options, agent: agents.https }) : httpRequest({ ...options, agent: agents.http });
}

function collect(
  response: IncomingMessage,
  limit: number,
  resolve: (answer: ExchangeAnswer) => void,
  fail: (error: ExchangeError) => void,
): void {
  const chunks: Buffer[] = [];
  let size = 0;
  response.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size > limit) fail(new ExchangeError("too-large"));
    else chunks.push(chunk);
  });
  response.on("error", (cause) => fail(new ExchangeError("network", { cause })));
  response.on("end", () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks, size) }));
}

function isReset(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && (cause.code === "ECONNRESET" || cause.code === "EPIPE");
}
