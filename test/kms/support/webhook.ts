/** A real HTTP server in place of the webhook; `answer` may be changed while it runs. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface WebhookCall {
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly userAgent: string | undefined;
  readonly contentType: string | undefined;
}

export interface WebhookAnswer {
  readonly status: number;
  readonly body: string;
}

export interface StubWebhook {
  readonly url: string;
  readonly calls: WebhookCall[];
  answer: { status: number; body: string };
  /** Answers instead of `answer` where it gives something; "never" leaves the caller waiting. */
  respond: ((call: WebhookCall) => WebhookAnswer | "never" | undefined | Promise<WebhookAnswer>) | undefined;
  close(): Promise<void>;
}

export const allowBody = JSON.stringify({ isAllowed: true, gatewayAppId: "gateway", reason: "" });

export const infoBody = JSON.stringify({
  status: "ok",
  kmsContractAddr: "0x00000000000000000000000000000000000000aa",
  gatewayAppId: "gateway",
  chainId: 31337,
  appImplementation: "0x00000000000000000000000000000000000000bb",
  ethRpcUrl: "http://127.0.0.1:8545",
});

export function denyBody(reason: string, more: Record<string, unknown> = {}): string {
  return JSON.stringify({ isAllowed: false, gatewayAppId: "", reason, ...more });
}

/** A webhook that says yes to everything still answers GET with its description. */
function describes({ method }: WebhookCall, { body }: WebhookAnswer): boolean {
  return method === "GET" && body === allowBody;
}

export async function startWebhook(): Promise<StubWebhook> {
  const calls: WebhookCall[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", async () => {
      const call = {
        method: request.method ?? "",
        path: request.url ?? "",
        body: Buffer.concat(chunks).toString(),
        userAgent: request.headers["user-agent"],
        contentType: request.headers["content-type"],
      };
      calls.push(call);
      const answer =
        (await stub.respond?.(call)) ?? (describes(call, stub.answer) ? { status: 200, body: infoBody } : stub.answer);
      if (answer === "never") return;
      response.writeHead(answer.status, { "content-type": "application/json" }).end(answer.body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stub: StubWebhook = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    answer: { status: 200, body: allowBody },
    respond: undefined,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return stub;
}
