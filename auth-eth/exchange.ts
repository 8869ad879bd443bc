/** One HTTP exchange on node's kept-alive fetch, bounded in time by the caller's signal and in size by a limit. */

export type ExchangeFailure = "network" | "timeout" | "too-large";

/** Carries only the kind: the text of a network error names the endpoint, and an endpoint may carry credentials. */
export class ExchangeError extends Error {
  readonly kind: ExchangeFailure;

  constructor(kind: ExchangeFailure, options?: { cause?: unknown }) {
    super(`exchange failed: ${kind}`, options);
    this.name = "ExchangeError";
    this.kind = kind;
  }
}

export interface Endpoint {
  readonly url: string;
  readonly authorization: string | undefined;
}

/** fetch refuses URLs with a user name or a password, which RPC vendors hand out: they travel as Basic authorization. */
export function endpointOf(text: string): Endpoint {
  const url = new URL(text);
  if (url.username === "" && url.password === "") return { url: text, authorization: undefined };
  const credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  url.username = "";
  url.password = "";
  return { url: url.href, authorization: `Basic ${Buffer.from(credentials, "utf8").toString("base64")}` };
}

export interface Exchange {
  readonly method: "GET" | "POST";
  readonly headers?: Record<string, string>;
  readonly body?: string;
  readonly signal: AbortSignal;
  readonly maxResponseBytes: number;
}

/** Redirects are refused: the address that decides key release is the one that was configured. */
export async function exchange(endpoint: Endpoint, input: Exchange): Promise<{ status: number; body: Uint8Array }> {
  const headers = { ...input.headers, ...(endpoint.authorization && { authorization: endpoint.authorization }) };
  const init = { method: input.method, headers, redirect: "error" as const, signal: input.signal };
  try {
    const response = await fetch(endpoint.url, input.body === undefined ? init : { ...init, body: input.body });
    return { status: response.status, body: await readAtMost(response, input.maxResponseBytes) };
  } catch (cause) {
    if (cause instanceof ExchangeError) throw cause;
    throw new ExchangeError(input.signal.aborted ? "timeout" : "network", { cause });
  }
}

async function readAtMost(response: Response, limit: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > limit) throw new ExchangeError("too-large"); // leaving the loop cancels the stream
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
