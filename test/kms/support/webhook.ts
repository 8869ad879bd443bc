/** A real HTTP server in place of the webhook; `answer` may be changed while it runs. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface StubWebhook {
  url: string;
  /** Paths and parsed bodies in the order of arrival; `keys` are the body's members in order. */
  calls: { method: string; path: string; body: string; userAgent: string | undefined; contentType: string | undefined }[];
  answer: { status: number; body: string };
  close(): Promise<void>;
}

export const allowBody = JSON.stringify({ isAllowed: true, gatewayAppId: "gateway", reason: "" });

export function denyBody(reason: string, more: Record<string, unknown> = {}): string {
  return JSON.stringify({ isAllowed: false, gatewayAppId: "", reason, ...more });
}

export async function startWebhook(): Promise<StubWebhook> {
  const stub: StubWebhook = { url: "", calls: [], answer: { status: 200, body: allowBody }, close: async () => {} };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      stub.calls.push({
        method: request.method ?? "",
        path: request.url ?? "",
        body: Buffer.concat(chunks).toString(),
        userAgent: request.headers["user-agent"],
        contentType: request.headers["content-type"],
      });
      response.writeHead(stub.answer.status, { "content-type": "application/json" }).end(stub.answer.body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  stub.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  stub.close = () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return stub;
}
