/** A client that sends a request exactly as written: no path clean-up, no header of its own but Host. */
import { type Agent, request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { connect, type Socket } from "node:net";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly bytes: Uint8Array;
}

export interface Ask {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array;
  readonly tls?: RequestOptions;
  readonly agent?: Agent;
}

export function ask(
  base: string,
  path: string,
  { method = "GET", headers = {}, body, tls = {}, agent }: Ask = {},
): Promise<Answer> {
  const { protocol, hostname, port } = new URL(base);
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const send = protocol === "https:" ? httpsRequest : httpRequest;
  const request = send(
    { hostname, port, path, method, headers, ...(agent === undefined ? {} : { agent }), ...tls },
    (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const bytes = new Uint8Array(Buffer.concat(chunks));
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text: Buffer.from(bytes).toString(), bytes });
      });
    },
  );
  request.on("error", reject);
  request.end(body);
  return promise;
}

/** A raw connection that writes `text` and waits until the server ends it; the answer is whatever came. */
export async function untilClosed(base: string, text: string): Promise<string> {
  const socket = rawConnection(base);
  let received = "";
  socket.on("data", (chunk) => {
    received += chunk.toString();
  });
  socket.on("error", () => undefined);
  socket.write(text);
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.on("close", () => resolve());
  await promise;
  return received;
}

export function rawConnection(base: string): Socket {
  const { hostname, port } = new URL(base);
  return connect({ host: hostname, port: Number(port) });
}
