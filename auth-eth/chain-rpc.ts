/** JSON-RPC to the chain: one HTTP round trip a batch, every answer matched to its question, nothing of the endpoint in errors. */
import { z } from "zod";
import type { Boundary } from "./api.ts";
import { ExchangeError, type Exchanger, endpointOf } from "./exchange.ts";

const maxResponseBytes = 1024 * 1024;
/** The code of a reverted call: the same question would get the same answer. */
const revertCode = 3;

const lasting: ReadonlySet<Boundary> = new Set(["rpc-reverted", "chain-id", "chain-head", "no-contract", "contract-answer"]);

export class UnavailableError extends Error {
  readonly boundary: Boundary;

  constructor(boundary: Boundary, options?: { cause?: unknown }) {
    super(`authorization backend unavailable: ${boundary}`, options);
    this.name = "UnavailableError";
    this.boundary = boundary;
  }

  /** Whether asking again can help. */
  get isPassing(): boolean {
    return !lasting.has(this.boundary);
  }
}

export interface RpcCall {
  readonly method: string;
  readonly params: readonly unknown[];
}

export interface ChainRpc {
  readonly name: string;
  /** The results in the order of the calls. */
  batch(calls: readonly RpcCall[], signal: AbortSignal): Promise<readonly unknown[]>;
}

const responseSchema = z.object({
  id: z.int(),
  result: z.unknown().optional(),
  error: z.object({ code: z.int() }).optional(),
});

/** One round trip, for metrics. */
export interface RpcSample {
  readonly endpoint: string;
  readonly seconds: number;
  readonly outcome: "ok" | Boundary;
}

export interface ChainRpcSettings {
  readonly url: string;
  /** For logs and metrics: never the URL, which may carry a key. */
  readonly name: string;
  readonly exchanger: Exchanger;
  readonly observe?: ((sample: RpcSample) => void) | undefined;
}

export function createChainRpc({ url, name, exchanger, observe }: ChainRpcSettings): ChainRpc {
  const endpoint = endpointOf(url);
  const ask = async (calls: readonly RpcCall[], signal: AbortSignal): Promise<readonly unknown[]> => {
    const body = JSON.stringify(calls.map(({ method, params }, id) => ({ jsonrpc: "2.0", id, method, params })));
    const headers = { "content-type": "application/json" };
    const input = { method: "POST" as const, headers, body, signal, maxResponseBytes };
    const answer = await exchanger.exchange(endpoint, input).catch((cause: unknown) => {
      throw new UnavailableError(cause instanceof ExchangeError ? `rpc-${cause.kind}` : "rpc-network", { cause });
    });
    if (answer.status !== 200) throw new UnavailableError("rpc-status");
    return resultsOf(decode(answer.body), calls.length);
  };
  return {
    name,
    async batch(calls, signal) {
      const start = performance.now();
      const sample = (outcome: "ok" | Boundary) =>
        observe?.({ endpoint: name, seconds: (performance.now() - start) / 1000, outcome });
      try {
        const results = await ask(calls, signal);
        sample("ok");
        return results;
      } catch (error) {
        sample(error instanceof UnavailableError ? error.boundary : "internal");
        throw error;
      }
    },
  };
}

/** One for each URL, named as operators may see it. */
export function createChainRpcs(urls: readonly string[], settings: Pick<ChainRpcSettings, "exchanger" | "observe">): ChainRpc[] {
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

function decode(body: Uint8Array): z.output<typeof responseSchema>[] {
  try {
    return z.array(responseSchema).parse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body)));
  } catch (cause) {
    throw new UnavailableError("rpc-garbage", { cause });
  }
}

/** Every id exactly once, in any order. */
function resultsOf(responses: readonly z.output<typeof responseSchema>[], count: number): readonly unknown[] {
  const byId = new Map(responses.map((response) => [response.id, response]));
  if (responses.length !== count || byId.size !== count) throw new UnavailableError("rpc-garbage");
  return Array.from({ length: count }, (_, id) => {
    const response = byId.get(id);
    if (response === undefined) throw new UnavailableError("rpc-garbage");
    if (response.error) throw new UnavailableError(response.error.code === revertCode ? "rpc-reverted" : "rpc-error");
    return response.result;
  });
}
