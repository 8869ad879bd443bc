/** One JSON call over one connection, with a bound on its time and on the size of its answer. Used towards the guest agent and towards a KMS. */
import { type IncomingMessage, type RequestOptions, request as startRequest } from "node:http";
import { concat } from "../bytes.ts";

export interface CallLimits {
  /** From connecting to the last byte of the answer. */
  readonly timeoutMs: number;
  readonly maxReplyBytes: number;
}

export interface Reply {
  readonly status: number;
  readonly code: string | undefined;
  readonly body: Uint8Array;
}

/** Posts JSON as the reference's clients do: without a content type. Rejects on network failure, timeout and oversize. */
export async function postJson(options: RequestOptions, json: unknown, limits: CallLimits): Promise<Reply> {
  const body = Buffer.from(JSON.stringify(json));
  const signal = AbortSignal.timeout(limits.timeoutMs);
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const headers = { accept: "*/*", "content-length": body.length, ...options.headers };
  const request = startRequest({ ...options, method: "POST", headers, signal });
  request.once("response", resolve).once("error", reject).end(body);
  try {
    const response = await promise;
    const code = response.headers["x-error-code"];
    return {
      status: response.statusCode ?? 0,
      code: typeof code === "string" ? code : undefined,
      body: await readBody(response, limits.maxReplyBytes),
    };
  } catch (cause) {
    throw signal.aborted ? new Error(`no answer within ${limits.timeoutMs} ms`, { cause }) : cause;
  } finally {
    request.destroy();
  }
}

async function readBody(response: IncomingMessage, limit: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response) {
    const bytes: unknown = chunk;
    if (!(bytes instanceof Uint8Array)) throw new TypeError("the answer is not bytes");
    size += bytes.length;
    if (size > limit) throw new RangeError(`the answer is over ${limit} bytes`);
    chunks.push(bytes);
  }
  return concat(...chunks);
}
