/** JSON-RPC to the chain: one HTTP round trip a batch, every answer matched to its question, nothing of the endpoint in errors. */
import { z } from "zod";
import type { Boundary } from "./api.ts";
import { ExchangeError, endpointOf, exchange } from "./exchange.ts";

const maxResponseBytes = 1024 * 1024;
/** The code of a reverted call: the same question would get the same answer. */
const revertCode = 3;

const lasting: ReadonlySet<Boundary> = new Set(["rpc-reverted", "chain-id", "chain-head", "contract-answer"]);

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
  /** The results in the order of the calls. */
  batch(calls: readonly RpcCall[], signal: AbortSignal): Promise<readonly unknown[]>;
}

const responseSchema = z.object({
  id: z.int(),
  result: z.unknown().optional(),
  error: z.object({ code: z.int() }).optional(),
});

export function createChainRpc(url: string): ChainRpc {
  const endpoint = endpointOf(url);
  return {
    async batch(calls, signal) {
      const body = JSON.stringify(calls.map(({ method, params }, id) => ({ jsonrpc: "2.0", id, method, params })));
      const headers = { "content-type": "application/json" };
      const answer = await exchange(endpoint, { method: "POST", headers, body, signal, maxResponseBytes }).catch(
        (cause: unknown) => {
          throw new UnavailableError(cause instanceof ExchangeError ? `rpc-${cause.kind}` : "rpc-network", { cause });
        },
      );
      if (answer.status !== 200) throw new UnavailableError("rpc-status");
      return resultsOf(decode(answer.body), calls.length);
    },
  };
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
