/** One pRPC call: negotiate, know the caller, read, find the method, parse, do the work, answer. */
import type { IncomingMessage } from "node:http";
import { create, type DescMessage, toBinary } from "@bufbuild/protobuf";
import type { VerifiedEvidence } from "../attestation/verifier.ts";
import { asKmsError, KmsError } from "../errors.ts";
import { BodyMemory, type IncomingBody, readBody } from "./body.ts";
import { PrpcErrorSchema } from "./gen/prpc_pb.ts";
import { decodeJson, decodeQuery, encodeJson } from "./json-codec.ts";
import type { Log } from "./log.ts";
import { inTime, Places } from "./places.ts";
import type { PlainMessage } from "./plain.ts";
import { decodeProtobuf, encodeProtobuf } from "./protobuf-codec.ts";
import { methodName, queryOf } from "./request-path.ts";
import type { Rpc } from "./rpc.ts";

export interface PrpcService {
  /** The service name and its dot, as in `KMS.`. */
  readonly prefix: string;
  readonly rpcs: readonly Rpc[];
  readonly log: Log;
  /** Calls worked on at once. */
  readonly maxPlaces?: number;
  /** At most, from the request's head to its answer; no limit unless said. */
  readonly answerMs?: number;
}

type Mode = "json" | "protobuf";
type Authenticate = () => Promise<VerifiedEvidence | undefined>;

/** Answers the call of path segment `segment`. `authenticate` runs for every request, before anything of it is read. */
export type PrpcEndpoint = (request: PrpcRequest, segment: string, authenticate: Authenticate) => Promise<Response>;
type PrpcRequest = IncomingBody & Pick<IncomingMessage, "method" | "url">;

const MAX_LOGGED_NAME = 64;
const MAX_LOGGED_CAUSES = 8;

export function createPrpcEndpoint({ prefix, rpcs, log, maxPlaces, answerMs }: PrpcService): PrpcEndpoint {
  const byName = new Map(rpcs.map((rpc) => [rpc.name, rpc]));
  const memory = new BodyMemory();
  const places = new Places(maxPlaces);
  return async (request, segment, authenticate) => {
    const started = performance.now();
    const asked = negotiate(request);
    const name = methodName(segment, prefix);
    const lease = memory.lease();
    let mode = asked.beforeDispatch;
    try {
      const caller = await inTime(places.during(authenticate), answerMs, started);
      const body = asked.isGet ? new Uint8Array() : await readBody(request, lease);
      mode = asked.mode;
      const rpc = byName.get(name);
      if (rpc === undefined) throw new KmsError("malformed.method", `Service not found: ${name}`);
      // none is held between the two: a body that comes slowly must not keep others out
      const work = places.during(async () => rpc.handle(readInput(rpc, asked, body), { caller: () => caller }));
      const output = await inTime(work, answerMs, started);
      const response = success(rpc, mode, output);
      log.info({ method: name, ms: elapsed(started) }, "answered");
      return response;
    } catch (thrown) {
      const error = asKmsError(thrown);
      logRefusal(log, error, { method: name.slice(0, MAX_LOGGED_NAME), ms: elapsed(started) });
      return refusal(error, mode);
    } finally {
      lease.end();
    }
  };
}

interface Negotiated {
  readonly isGet: boolean;
  readonly query: URLSearchParams;
  /** How a handler's result and refusals of the dispatch are written. */
  readonly mode: Mode;
  /** How a refusal before dispatch is written: a JSON content type alone does not count there. */
  readonly beforeDispatch: Mode;
}

function negotiate(request: PrpcRequest): Negotiated {
  const query = queryOf(request.url ?? "");
  const isGet = request.method === "GET" || request.method === "HEAD";
  const isJsonAsked = isGet || ["", "1", "true"].includes(query.get("json") ?? "no");
  const mediaType = request.headers["content-type"]?.split(";")[0]?.trim().toLowerCase();
  return {
    isGet,
    query,
    mode: isJsonAsked || mediaType === "application/json" ? "json" : "protobuf",
    beforeDispatch: isJsonAsked ? "json" : "protobuf",
  };
}

/** The payload of an Empty request is never parsed: callers send `null`, `{}`, nothing or anything. */
function readInput(rpc: Rpc, asked: Negotiated, body: Uint8Array): PlainMessage {
  if (rpc.input === "empty") return {};
  if (asked.isGet) return decodeQuery(rpc.input, asked.query);
  return asked.mode === "json" ? decodeJson(rpc.input, body) : decodeProtobuf(rpc.input, body);
}

function success(rpc: Rpc, mode: Mode, output: PlainMessage | null): Response {
  const body = rpc.output === "empty" ? emptyBody(mode) : messageBody(rpc.output, mode, output);
  return new Response(body, { status: 200, headers: headersOf(mode) });
}

function emptyBody(mode: Mode): string | Uint8Array<ArrayBuffer> {
  return mode === "json" ? "null" : new Uint8Array();
}

function messageBody(desc: DescMessage, mode: Mode, output: PlainMessage | null): string | Uint8Array<ArrayBuffer> {
  if (output === null) throw new TypeError(`no result of type ${desc.name}`);
  return mode === "json" ? encodeJson(desc, output) : new Uint8Array(encodeProtobuf(desc, output));
}

/** Every refusal is a 400 with the whole chain of contexts as its text; the code travels in a header that old peers ignore. */
function refusal(error: KmsError, mode: Mode): Response {
  const body =
    mode === "json"
      ? JSON.stringify({ error: error.message }, null, 2)
      : new Uint8Array(toBinary(PrpcErrorSchema, create(PrpcErrorSchema, { message: error.message })));
  return new Response(body, { status: 400, headers: { ...headersOf(mode), "X-Error-Code": error.code } });
}

/** A refusal is ordinary and told in one line with its causes; a fault is ours to mend and comes with its stack. */
function logRefusal(log: Log, error: KmsError, fields: { readonly method: string; readonly ms: number }): void {
  if (error.family === "fault") {
    log.error({ ...fields, code: error.code, err: error }, "failed");
    return;
  }
  const causes: string[] = [];
  for (let cause = error.cause; cause instanceof Error && causes.length < MAX_LOGGED_CAUSES; cause = cause.cause) {
    causes.push(cause.message);
  }
  log.warn({ ...fields, code: error.code, reason: error.message, causes }, "refused");
}

/** Answers may carry keys, so no cache on the way may keep them. */
function headersOf(mode: Mode): Record<string, string> {
  return { "Content-Type": mode === "json" ? "application/json" : "application/octet-stream", "Cache-Control": "no-store" };
}

function elapsed(started: number): number {
  return Math.round(performance.now() - started);
}
