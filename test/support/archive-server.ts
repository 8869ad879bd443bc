/** A real HTTP server that image archives are downloaded from, with every way to be a bad one. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Answer = Uint8Array | ((request: IncomingMessage, response: ServerResponse) => void);

export interface ArchiveServer {
  /** Without a slash at the end. */
  readonly url: string;
  /** Path by path, in the order of the requests. */
  readonly asked: string[];
  answers: Record<string, Answer>;
  close(): Promise<void>;
}

export async function startArchiveServer(answers: Record<string, Answer> = {}): Promise<ArchiveServer> {
  const server = createServer((request, response) => {
    const path = request.url ?? "";
    served.asked.push(path);
    const answer = served.answers[path];
    if (answer === undefined) response.writeHead(404).end("none");
    else if (typeof answer === "function") answer(request, response);
    else response.writeHead(200, { "content-type": "application/gzip", "content-length": answer.length }).end(answer);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const served: ArchiveServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: [],
    answers,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return served;
}
