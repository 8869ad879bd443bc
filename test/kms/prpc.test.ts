import { fromBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { utf8 } from "../../kms/bytes.ts";
import { KmsError } from "../../kms/errors.ts";
import {
  AppIdSchema,
  GetAppKeyRequestSchema,
  GetMetaResponseSchema,
  KMS,
  PublicKeyResponseSchema,
} from "../../kms/http/gen/kms_pb.ts";
import { PrpcErrorSchema } from "../../kms/http/gen/prpc_pb.ts";
import { type Listener, listen } from "../../kms/http/listeners.ts";
import type { PlainMessage } from "../../kms/http/plain.ts";
import { encodeProtobuf } from "../../kms/http/protobuf-codec.ts";
import { methodName, routePath } from "../../kms/http/request-path.ts";
import { type Handle, rpcsOf } from "../../kms/http/rpc.ts";
import { createServiceApp } from "../../kms/http/service-app.ts";
import { type Ask, ask } from "../support/http-client.ts";
import { type LogLine, silentLog } from "../support/silent-log.ts";

const tenMiB = 10 * 1024 * 1024;
const meta = { ca_cert: "pem", k256_pubkey: new Uint8Array([2]), allow_any_upgrade: false, is_dev: false };
const metaJson =
  '{"ca_cert":"pem","allow_any_upgrade":false,"k256_pubkey":"02","bootstrap_info":null,"is_dev":false,' +
  '"gateway_app_id":null,"kms_contract_address":null,"chain_id":null,"app_auth_implementation":null}';

const lines: LogLine[] = [];
let listener: Listener;
let evidenceError: Error | undefined;
let seen: PlainMessage[] = [];

const refuseWith = (error: Error): Handle => {
  return async () => {
    throw error;
  };
};

beforeAll(async () => {
  const rpcs = rpcsOf(KMS, {
    GetMeta: async (input) => {
      seen.push(input);
      return meta;
    },
    GetAppEnvEncryptPubKey: async (input) => {
      seen.push(input);
      return {
        public_key: input.app_id,
        signature: new Uint8Array([1]),
        timestamp: 2n ** 53n + 1n,
        signature_v1: new Uint8Array(),
      };
    },
    GetAppKey: refuseWith(new KmsError("denied.policy", "App not allowed: Boot denied: Compose hash not allowed")),
    GetKmsKey: refuseWith(new Error("secret detail")),
    GetTempCaCert: async () => ({ temp_ca_cart: "misspelled" }),
  });
  const authenticate = async () => {
    if (evidenceError !== undefined) throw evidenceError;
    return undefined;
  };
  const app = createServiceApp({ prefix: "KMS.", rpcs, authenticate, version: "v1.2.3 (git:abc)", log: silentLog(lines) });
  listener = await listen(app, { hostname: "127.0.0.1", port: 0 });
});

afterAll(() => listener.close());

const post = (path: string, body: string | Uint8Array = "", headers: Record<string, string> = {}, options: Ask = {}) =>
  ask(listener.url, path, {
    method: "POST",
    body,
    headers: { "Content-Length": String(Buffer.byteLength(body)), ...headers },
    ...options,
  });
const get = (path: string) => ask(listener.url, path);
const json = { "Content-Type": "application/json" };
const errorText = (bytes: Uint8Array) => fromBinary(PrpcErrorSchema, bytes).message;

describe("method path", () => {
  test.each([
    "/prpc/GetMeta",
    "/prpc/KMS.GetMeta",
    "/prpc/KMS.KMS.GetMeta",
    "//prpc/GetMeta",
    "/prpc//GetMeta",
    "///prpc///KMS.GetMeta?x=1",
    "/prpc/%47etMeta",
    "/%70rpc/KMS%2EGetMeta",
  ])("%s is GetMeta", async (path) => {
    expect(await get(path)).toMatchObject({ status: 200, text: metaJson });
  });

  test.each([
    ["/prpc/getmeta", "getmeta"],
    ["/prpc/Nope", "Nope"],
    ["/prpc/KMS.Nope", "Nope"],
    ["/prpc/Onboard.Bootstrap", "Onboard.Bootstrap"],
    ["/prpc/kms.GetMeta", "kms.GetMeta"],
    ["/prpc/KMS.", ""],
    ["/prpc/a%2Fb", "a/b"],
    ["/prpc/%zz", "%zz"],
  ])("%s is no method of the service", async (path, name) => {
    const answer = await get(path);
    expect(answer.status).toBe(400);
    expect(answer.text).toBe(`{\n  "error": "Service not found: ${name}"\n}`);
    expect(answer.headers["x-error-code"]).toBe("malformed.method");
  });

  test.each([
    "/prpc/GetMeta/",
    "/prpc",
    "/prpc/",
    "/prpc/GetMeta/x",
    "/prpc/GetMeta//",
    "/PRPC/GetMeta",
    "/GetMeta",
    "/prpc%2FGetMeta",
  ])("%s is no route", async (path) => {
    expect(await get(path)).toMatchObject({ status: 404 });
  });

  test("a path that is a thousand prefixes long is read in one pass", () => {
    expect(methodName(`${"KMS.".repeat(1000)}GetMeta`, "KMS.")).toBe("GetMeta");
    expect(routePath(`http://h${"/".repeat(5000)}prpc/x`)).toBe("/prpc/x");
  });
});

describe("negotiation", () => {
  const request = '{"app_id":"0xAB"}';
  const binary = encodeProtobuf(AppIdSchema, { app_id: new Uint8Array([0xab]) });
  const path = "/prpc/GetAppEnvEncryptPubKey";

  test.each([
    ["?json without content type", "?json", {}],
    ["?json= ", "?json=", {}],
    ["?json=1", "?json=1", {}],
    ["?json=true", "?json=true", {}],
    ["?json with curl's content type", "?json", { "Content-Type": "application/x-www-form-urlencoded" }],
    ["?json first, others later", "?json&json=0", {}],
    ["a JSON content type", "", json],
    ["a JSON content type with parameters", "", { "Content-Type": "Application/JSON; charset=utf-8" }],
    ["?json=0 with a JSON content type", "?json=0", json],
    ["an Accept that is ignored", "?json", { Accept: "application/octet-stream" }],
  ])("JSON: %s", async (_name, query, headers) => {
    const answer = await post(path + query, request, headers);
    expect(answer).toMatchObject({
      status: 200,
      text: '{"public_key":"ab","signature":"01","timestamp":9007199254740993,"signature_v1":""}',
    });
    expect(answer.headers["content-type"]).toBe("application/json");
    expect(answer.headers["content-length"]).toBe(String(answer.bytes.length));
  });

  test.each([
    ["no content type", "", {}],
    ["?json=0", "?json=0", {}],
    ["?json=TRUE", "?json=TRUE", {}],
    ["a second ?json", "?json=no&json=1", {}],
    ["another JSON type", "", { "Content-Type": "application/vnd.api+json" }],
    ["octets", "", { "Content-Type": "application/octet-stream" }],
    ["an Accept that is ignored", "", { Accept: "application/json" }],
  ])("protobuf: %s", async (_name, query, headers) => {
    const answer = await post(path + query, binary, headers);
    expect(answer.status).toBe(200);
    expect(answer.headers["content-type"]).toBe("application/octet-stream");
    expect(fromBinary(PublicKeyResponseSchema, answer.bytes)).toMatchObject({
      publicKey: new Uint8Array([0xab]),
      timestamp: 2n ** 53n + 1n,
    });
  });

  test.each([
    ["/prpc/GetAppEnvEncryptPubKey?app_id=0xAB", { app_id: new Uint8Array([0xab]) }],
    ["/prpc/GetAppEnvEncryptPubKey?json=0&app_id=ab&x=1", { app_id: new Uint8Array([0xab]) }],
    ["/prpc/GetAppEnvEncryptPubKey", { app_id: new Uint8Array() }],
    ["/prpc/GetMeta?api_version=x", {}],
  ])("GET %s takes its arguments from the query and answers JSON", async (url, input) => {
    seen = [];
    const answer = await get(url);
    expect(answer.status).toBe(200);
    expect(answer.headers["content-type"]).toBe("application/json");
    expect(seen).toEqual([input]);
  });

  test.each(["", "null", "{}", "garbage", "[", "\u0000\uffff"])(
    "an Empty request with the body %j is never parsed",
    async (body) => {
      seen = [];
      expect(await post("/prpc/GetMeta?json", body)).toMatchObject({ status: 200, text: metaJson });
      const answer = await post("/prpc/GetMeta", body);
      expect(fromBinary(GetMetaResponseSchema, answer.bytes)).toMatchObject({ caCert: "pem" });
      expect(seen).toEqual([{}, {}]);
    },
  );

  test("an empty JSON body is the default message", async () => {
    expect(await post(`${path}?json`)).toMatchObject({ status: 200 });
  });

  test("HEAD is GET without the body", async () => {
    const answer = await ask(listener.url, "/prpc/GetMeta", { method: "HEAD" });
    expect(answer).toMatchObject({ status: 200, text: "" });
    expect(answer.headers["content-type"]).toBe("application/json");
    expect(await ask(listener.url, "/prpc/Nope", { method: "HEAD" })).toMatchObject({ status: 400, text: "" });
  });

  test.each(["PUT", "DELETE", "OPTIONS", "PATCH"])("%s is no route", async (method) => {
    expect(await ask(listener.url, "/prpc/GetMeta", { method })).toMatchObject({ status: 404 });
  });

  test("answers are not kept by caches", async () => {
    expect((await get("/prpc/GetMeta")).headers["cache-control"]).toBe("no-store");
  });
});

describe("refusals", () => {
  test("a refusal in JSON is pretty-printed with its code in a header", async () => {
    const answer = await post("/prpc/GetAppKey?json", '{"api_version":1}');
    expect(answer.status).toBe(400);
    expect(answer.text).toBe('{\n  "error": "App not allowed: Boot denied: Compose hash not allowed"\n}');
    expect(answer.headers).toMatchObject({ "content-type": "application/json", "x-error-code": "denied.policy" });
  });

  test("a refusal in protobuf is a message with the text in field 1", async () => {
    const answer = await post("/prpc/GetAppKey", encodeProtobuf(GetAppKeyRequestSchema, { api_version: 1 }));
    expect(answer).toMatchObject({ status: 400 });
    expect(answer.bytes[0]).toBe(0x0a);
    expect(errorText(answer.bytes)).toBe("App not allowed: Boot denied: Compose hash not allowed");
    expect(answer.headers).toMatchObject({ "content-type": "application/octet-stream", "x-error-code": "denied.policy" });
  });

  test.each([
    ["garbage JSON", "?json", "{"],
    ["null for a plain field", "?json", '{"vm_config":null}'],
    ["a duplicated field", "?json", '{"api_version":0,"api_version":0}'],
    ["garbage protobuf", "", "garbage"],
  ])("%s is refused before the work", async (_name, query, body) => {
    const answer = await post(`/prpc/GetAppKey${query}`, body);
    expect(answer.status).toBe(400);
    expect(answer.headers["x-error-code"]).toBe("malformed.request");
  });

  test.each([
    ["a foreign error", "GetKmsKey"],
    ["a result with a misspelled field", "GetTempCaCert"],
  ])("%s becomes a text without detail, and the cause goes to the log", async (_name, method) => {
    lines.length = 0;
    const answer = await post(`/prpc/${method}?json`, "{}");
    expect(answer).toMatchObject({ status: 400, text: '{\n  "error": "internal error"\n}' });
    expect(answer.headers["x-error-code"]).toBe("fault.internal");
    expect(lines).toEqual([
      {
        level: "error",
        message: "failed",
        fields: expect.objectContaining({ method, code: "fault.internal", err: expect.any(KmsError) }),
      },
    ]);
  });

  test("a refusal is logged in one line with its code and causes", async () => {
    lines.length = 0;
    await post("/prpc/GetAppKey", "garbage");
    const fields = expect.objectContaining({ method: "GetAppKey", code: "malformed.request", causes: [expect.any(String)] });
    expect(lines).toEqual([{ level: "warn", message: "refused", fields }]);
  });

  test("neither bodies nor results are logged", async () => {
    lines.length = 0;
    await post("/prpc/GetAppEnvEncryptPubKey?json", '{"app_id":"c0ffee"}');
    await post("/prpc/GetAppKey?json", '{"vm_config":"c0ffee');
    expect(JSON.stringify(lines)).not.toContain("c0ffee");
  });
});

describe("before dispatch", () => {
  const withEvidenceError = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    evidenceError = new KmsError("unproven.report-data", "invalid quote: report data mismatch");
    try {
      return await work();
    } finally {
      evidenceError = undefined;
    }
  };

  test.each([
    ["GET", () => get("/prpc/GetMeta")],
    ["?json", () => post("/prpc/GetMeta?json", "null")],
    ["?json for an unknown method", () => post("/prpc/Nope?json", "null")],
  ])("bad evidence is reported in JSON for %s", async (_name, send) => {
    const answer = await withEvidenceError(send);
    expect(answer).toMatchObject({ status: 400, text: '{\n  "error": "invalid quote: report data mismatch"\n}' });
    expect(answer.headers["x-error-code"]).toBe("unproven.report-data");
  });

  test.each([
    ["a JSON content type alone", json],
    ["nothing", {}],
  ])("bad evidence is reported in protobuf for %s", async (_name, headers) => {
    const answer = await withEvidenceError(() => post("/prpc/GetMeta", "{}", headers));
    expect(answer.headers["content-type"]).toBe("application/octet-stream");
    expect(errorText(answer.bytes)).toBe("invalid quote: report data mismatch");
  });

  test("bad evidence comes before the size of the body", async () => {
    const answer = await withEvidenceError(() => post("/prpc/GetMeta?json", new Uint8Array(tenMiB + 1)));
    expect(answer.headers["x-error-code"]).toBe("unproven.report-data");
  });

  test("a body of exactly the limit is read", async () => {
    const body = `{"app_id":""${" ".repeat(tenMiB - 13)}}`;
    expect(utf8(body).length).toBe(tenMiB);
    expect(await post("/prpc/GetAppEnvEncryptPubKey?json", body)).toMatchObject({ status: 200 });
  });

  test.each([
    ["announced, ?json", "/prpc/GetMeta?json", { "Content-Length": String(tenMiB + 1) }, "json"],
    ["in chunks, ?json", "/prpc/Nope?json", { "Content-Length": "", "Transfer-Encoding": "chunked" }, "json"],
    ["announced, JSON content type alone", "/prpc/GetAppKey", { ...json, "Content-Length": String(tenMiB + 1) }, "protobuf"],
  ])("a body over the limit is refused: %s", async (_name, path, headers, mode) => {
    const sent = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== ""));
    const answer = await ask(listener.url, path, { method: "POST", headers: sent, body: new Uint8Array(tenMiB + 1) });
    const text = "failed to read data: payload too large";
    expect(answer.status).toBe(400);
    expect(answer.headers["x-error-code"]).toBe("malformed.body-too-large");
    if (mode === "json") expect(answer.text).toBe(`{\n  "error": "${text}"\n}`);
    else expect(errorText(answer.bytes)).toBe(text);
  });
});

test("a service is joined with its methods by name", () => {
  const handle: Handle = async () => null;
  expect(rpcsOf(KMS, { GetMeta: handle })).toEqual([{ name: "GetMeta", input: "empty", output: GetMetaResponseSchema, handle }]);
  expect(() => rpcsOf(KMS, { GetMata: handle })).toThrow(TypeError);
});
