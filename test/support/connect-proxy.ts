/** An HTTP proxy that tunnels by CONNECT, as the hosts of enclaves run one. */
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";

export interface ConnectProxy {
  readonly url: string;
  /** `host:port` of every tunnel that was asked for. */
  readonly asked: string[];
  /** The credentials of the last request. */
  authorization(): string | undefined;
  close(): Promise<void>;
}

export async function startConnectProxy(answer = "HTTP/1.1 200 Connection established\r\n\r\n"): Promise<ConnectProxy> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  let authorization: string | undefined;
  const server = createServer((_, response) => response.writeHead(405).end());
  server.on("connection", (socket) => sockets.add(socket));
  server.on("connect", (request, client) => {
    const authority = request.url ?? "";
    asked.push(authority);
    authorization = request.headers["proxy-authorization"];
    client.on("error", () => undefined);
    if (!answer.startsWith("HTTP/1.1 200")) return client.end(answer);
    const { hostname, port } = new URL(`http://${authority}`);
    const upstream = connect({ host: hostname.replace(/^\[(.*)\]$/, "$1"), port: Number(port) }, () => {
      client.write(answer);
      upstream.pipe(client).pipe(upstream);
    });
    sockets.add(upstream);
    return upstream.on("error", () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    authorization: () => authorization,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
