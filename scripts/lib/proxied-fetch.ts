/** `fetch` for GET requests that goes through a proxy where there is one for the URL; Node's own has none on every version we run on. */
import type { IncomingMessage } from "node:http";
import { request as startRequest } from "node:https";
import { isIP } from "node:net";
import { Readable } from "node:stream";
import { connect } from "node:tls";
import type { Tunnel } from "../../kms/ra-tls/tunnel.ts";

export type Reach = (url: string, init: { readonly signal: AbortSignal; readonly redirect?: "manual" }) => Promise<Response>;

const connectMs = 10_000;

/** Plain http, which HTTPS_PROXY does not cover, is reached directly. */
export function proxiedFetch(tunnelTo: (url: URL) => Tunnel | undefined): Reach {
  return (text, init) => {
    const url = new URL(text);
    const tunnel = url.protocol === "https:" ? tunnelTo(url) : undefined;
    return tunnel === undefined ? fetch(url, init) : get(url, tunnel, init.signal);
  };
}

async function get(url: URL, tunnel: Tunnel, signal: AbortSignal): Promise<Response> {
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const socket = await tunnel(host, Number(url.port || 443), connectMs);
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const secure = connect({ socket, host, ...(isIP(host) === 0 ? { servername: host } : {}) }).on("error", reject);
  const request = startRequest(url, { createConnection: () => secure, agent: false, signal, headers: { connection: "close" } });
  request.once("response", resolve).on("error", reject).end();
  const response = await promise.catch((cause: unknown) => {
    secure.destroy();
    throw cause;
  });
  response.once("close", () => secure.destroy()); // the proxy may keep its half open, and the process with it
  const headers = new Headers(
    Object.entries(response.headersDistinct).flatMap(([name, values = []]) =>
      values.map((value) => [name, value] as [string, string]),
    ),
  );
  return new Response(bodyOf(response), { status: response.statusCode ?? 500, headers });
}

function bodyOf(response: IncomingMessage): ReadableStream {
  return Readable.toWeb(response) as ReadableStream;
}
