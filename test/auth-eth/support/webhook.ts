/** The webhook on a socket of its own, built as its main file builds it, with its log kept. */
import type { IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { type Decision, decisionSchema } from "../../../auth-eth/api.ts";
import { createApp } from "../../../auth-eth/app.ts";
import { createAuthority } from "../../../auth-eth/authority.ts";
import { createChainRpcs } from "../../../auth-eth/chain-rpc.ts";
import { loadConfig } from "../../../auth-eth/config.ts";
import { createExchanger } from "../../../auth-eth/exchange.ts";
import { createMetrics } from "../../../auth-eth/metrics.ts";
import { createRequestLog } from "../../../auth-eth/request-log.ts";
import { listen } from "../../../auth-eth/server.ts";

export interface Answer {
  readonly status: number;
  readonly json: unknown;
}

export async function startWebhook(env: Record<string, string>, options: { maxConcurrent?: number; now?: () => number } = {}) {
  const { backend, maxConcurrent } = loadConfig(env);
  if (backend.kind !== "chain") throw new Error("this webhook asks a chain");
  const exchanger = createExchanger();
  const entries: string[] = [];
  const record = (fields: object, message: string) => void entries.push(JSON.stringify({ ...fields, message }));
  const dissents: string[] = [];
  const authority = createAuthority({
    ...backend,
    ...options,
    rpcs: createChainRpcs(backend.rpcUrls, { exchanger, maxBatch: backend.maxBatch }),
    onDissent: (endpoint, boundary) => void dissents.push(`${endpoint} ${boundary}`),
  });
  const app = createApp({
    authority,
    log: createRequestLog({ info: record, warn: record }),
    metrics: createMetrics(),
    maxConcurrent,
    kmsContractAddr: backend.kmsContractAddr,
    ethRpcUrl: backend.rpcOrigins.join(","),
    ...options,
  });
  const listener = await listen(app, "127.0.0.1", 0);
  const sendWhole = async (path: string, init?: RequestInit): Promise<Answer> => {
    const response = await fetch(`${listener.url}${path}`, init);
    const text = await response.text();
    return { status: response.status, json: text === "" ? undefined : JSON.parse(text) };
  };
  const send = async (path: string, init?: RequestInit): Promise<Answer> => {
    const { status, json } = await sendWhole(path, init);
    return { status, json: withoutAdded(json) };
  };
  return {
    url: listener.url,
    /** For questions that begin in one turn of the event loop, which sockets cannot promise. */
    authority,
    entries,
    dissents,
    async close() {
      await listener.close();
      exchanger.close();
    },
    send,
    /** The answer as an old client reads it. */
    post: (kind: "app" | "kms", body: unknown) => send(`/bootAuth/${kind}`, jsonPost(JSON.stringify(body))),
    /** With the added members, which must be of their schema. */
    ask: async (kind: "app" | "kms", body: unknown): Promise<Decision> =>
      decisionSchema.strict().parse((await sendWhole(`/bootAuth/${kind}`, jsonPost(JSON.stringify(body)))).json),
  };
}

/** Of a decision the three members of the protocol; anything else as it is. */
export function withoutAdded(json: unknown): unknown {
  if (typeof json !== "object" || json === null || !("isAllowed" in json)) return json;
  const decision = decisionSchema.strict().parse(json);
  return { isAllowed: decision.isAllowed, reason: decision.reason, gatewayAppId: decision.gatewayAppId };
}

export function jsonPost(body: string, contentType = "application/json"): RequestInit {
  return { method: "POST", body, headers: { "content-type": contentType } };
}

export const invalid = { isAllowed: false, reason: "invalid authorization request", gatewayAppId: "" };
export const unavailable = { isAllowed: false, reason: "authorization backend unavailable", gatewayAppId: "" };

export function bodyOf(request: IncomingMessage): Promise<string> {
  return text(request);
}
