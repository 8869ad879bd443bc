/** JSON-RPC to the chain: one HTTP round trip a question, shared with others or not, and nothing of the endpoint in errors. */
import type { Boundary } from "./api.ts";
import { ExchangeError, type Exchanger, endpointOf } from "./exchange.ts";
import { type Answer, answersOf, type Batch, BatchDraft, questionOf, type RpcCall } from "./rpc-batch.ts";
import { createSharedTrips, StatusError } from "./shared-trips.ts";
import { UnavailableError } from "./unavailable.ts";

/** For the head, which may list every transaction of its block, and the answers of one question. */
const maxResponseBytes = 1024 * 1024;
/** For each question more: its program cannot answer more than this in hex. */
const maxAnswerBytes = 64 * 1024;

export interface ChainRpc {
  readonly name: string;
  /** The results in the order of the calls, over a request of their own. */
  batch(calls: readonly RpcCall[], signal: AbortSignal): Promise<readonly unknown[]>;
  /** The same, over a request that carries what others ask at the same moment. Not for calls whose answers have no limit. */
  share(calls: readonly RpcCall[], signal: AbortSignal): Promise<readonly unknown[]>;
}

/** One round trip, for metrics. */
export interface RpcSample {
  readonly endpoint: string;
  readonly seconds: number;
  /** Of the first question that failed, where any did. */
  readonly outcome: "ok" | Boundary;
}

export interface ChainRpcSettings {
  readonly url: string;
  /** For logs and metrics: never the URL, which may carry a key. */
  readonly name: string;
  readonly exchanger: Exchanger;
  /** In one request, unless one question has more: endpoints limit batches. */
  readonly maxBatch: number;
  readonly observe?: ((sample: RpcSample) => void) | undefined;
  /** Told the name of an endpoint that could not be asked several questions in one request. */
  readonly onApart?: ((endpoint: string) => void) | undefined;
  /** Milliseconds that never go back. */
  readonly now?: (() => number) | undefined;
}

export function createChainRpc({ url, name, exchanger, maxBatch, observe, onApart, now }: ChainRpcSettings): ChainRpc {
  const endpoint = endpointOf(url);
  const headers = { "content-type": "application/json" };
  const exchange = async (batch: Batch, signal: AbortSignal): Promise<readonly Answer[]> => {
    const limit = maxResponseBytes + (batch.ids.length - 1) * maxAnswerBytes;
    const input = { method: "POST" as const, headers, body: batch.body, signal, maxResponseBytes: limit };
    const { status, body } = await exchanger.exchange(endpoint, input).catch((cause: unknown) => {
      throw new UnavailableError(cause instanceof ExchangeError ? `rpc-${cause.kind}` : "rpc-network", { cause });
    });
    if (status !== 200) throw new StatusError(status);
    return answersOf(body, batch);
  };
  const send = async (batch: Batch, signal: AbortSignal): Promise<readonly Answer[]> => {
    const start = performance.now();
    const sample = (outcome: "ok" | Boundary) =>
      observe?.({ endpoint: name, seconds: (performance.now() - start) / 1000, outcome });
    try {
      const answers = await exchange(batch, signal);
      sample(answers.find((answer) => answer instanceof UnavailableError)?.boundary ?? "ok");
      return answers;
    } catch (error) {
      sample(error instanceof UnavailableError ? error.boundary : "internal");
      throw error;
    }
  };
  const trips = createSharedTrips({ send, maxCalls: maxBatch, now, onApart: () => onApart?.(name) });
  return {
    name,
    async batch(calls, signal) {
      const draft = new BatchDraft();
      draft.add(questionOf(calls));
      const [answer] = await send(draft.finish(), signal);
      if (answer instanceof Error || answer === undefined) throw answer ?? new UnavailableError("internal");
      return answer;
    },
    share: (calls, signal) => trips.ask(questionOf(calls), signal),
  };
}

/** One for each URL, named as operators may see it. */
export function createChainRpcs(urls: readonly string[], settings: Omit<ChainRpcSettings, "url" | "name">): ChainRpc[] {
  const names = endpointNames(urls);
  return urls.map((url, index) => createChainRpc({ ...settings, url, name: names[index] ?? "" }));
}

/** The hosts; those that come again with their place among their like. */
function endpointNames(urls: readonly string[]): string[] {
  const hosts = urls.map((url) => new URL(url).host);
  return hosts.map((host, index) => {
    const place = hosts.slice(0, index + 1).filter((other) => other === host).length;
    return place === 1 ? host : `${host}#${place}`;
  });
}
