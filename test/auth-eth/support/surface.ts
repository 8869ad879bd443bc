/** The HTTP surface on a socket of its own, before an authority that the test plays. */
import { createApp } from "../../../auth-eth/app.ts";
import type { Authority } from "../../../auth-eth/authority.ts";
import { createMetrics } from "../../../auth-eth/metrics.ts";
import { createRequestLog } from "../../../auth-eth/request-log.ts";
import { listen } from "../../../auth-eth/server.ts";
import { UnavailableError } from "../../../auth-eth/unavailable.ts";

export const block = { number: 7, hash: `0x${"b1".repeat(32)}`, timestamp: 1_760_000_000 };
export const bootBody = {
  mrAggregated: "11".repeat(32),
  osImageHash: "",
  appId: "22".repeat(20),
  composeHash: "",
  instanceId: "",
  deviceId: "33".repeat(32),
};

/** One that says no; tests change what they are about. */
export const denying: Authority = {
  decide: async () => ({ isAllowed: false, reason: "no", gatewayAppId: "", code: "denied.other", block }),
  deployment: async () => ({ gatewayAppId: "any", chainId: 1, appImplementation: "0x2", kmsInfo: null }),
  ready: async () => block,
};
export const allowing: Authority = {
  ...denying,
  decide: async () => ({ isAllowed: true, reason: "", gatewayAppId: "any", code: "allowed", block, trace: [] }),
};
const fail = () => Promise.reject(new UnavailableError("stale"));
export const failing: Authority = { decide: fail, deployment: fail, ready: fail };

export type LogLine = Readonly<Record<string, unknown>> & { readonly message: string };

export async function startSurface(initial: Authority, options: { maxConcurrent?: number; now?: () => number } = {}) {
  const lines: LogLine[] = [];
  const record = (fields: object, message: string) => void lines.push({ ...fields, message });
  let current = initial;
  const authority: Authority = {
    decide: (kind, boot) => current.decide(kind, boot),
    deployment: () => current.deployment(),
    ready: () => current.ready(),
  };
  const app = createApp({
    authority,
    log: createRequestLog({ info: record, warn: record }),
    metrics: createMetrics(options.now),
    kmsContractAddr: "0x1",
    ethRpcUrl: "https://rpc.example",
    maxConcurrent: options.maxConcurrent ?? 8,
  });
  const listener = await listen(app, "127.0.0.1", 0);
  return {
    app,
    lines,
    url: listener.url,
    close: () => listener.close(),
    play: (next: Authority) => {
      current = next;
    },
  };
}

/** An authority whose answers wait until they are let go. */
export function held(inner: Authority): { authority: Authority; arrived: Promise<void>; release: () => void } {
  const gate = Promise.withResolvers<void>();
  const first = Promise.withResolvers<void>();
  const wait = <T>(work: () => Promise<T>) => {
    first.resolve();
    return gate.promise.then(work);
  };
  const authority: Authority = {
    decide: (kind, boot) => wait(() => inner.decide(kind, boot)),
    deployment: () => wait(() => inner.deployment()),
    ready: () => wait(() => inner.ready()),
  };
  return { authority, arrived: first.promise, release: () => gate.resolve() };
}
