/** The guest agent of one simulated TD: its RPCs over a Unix socket, as existing clients call them (wire-protocol 6.1). */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { concat, fromHex, toHex } from "../../kms/bytes.ts";
import type { SimulatedTd } from "./td.ts";

interface GuestInfo {
  readonly appName: string;
  readonly version: string;
}

type Fields = Readonly<Record<string, unknown>>;
type Method = (input: Fields) => object;

class Refusal extends Error {}

const maxBodyBytes = 10 * 1024 * 1024;
const requestTimeoutMs = 10_000;
const maxConnections = 64;
const reportDataBytes = 64;
/** Unverified, the device id of a TDX guest is the hash of nothing; the real one needs the PCK certificate. */
const unverifiedDeviceId = createHash("sha256").digest("hex");

export function createGuestAgentServer(td: SimulatedTd, info: GuestInfo): Server {
  const methods = new Map<string, Method>([
    ["Attest", (input) => ({ attestation: toHex(td.attest(reportDataOf(input))) })],
    ["GetQuote", (input) => quoteAnswer(td, reportDataOf(input))],
    ["Info", () => infoAnswer(td, info.appName)],
    ["Version", () => ({ version: info.version, rev: "simulated" })],
  ]);
  const server = createServer((request, response) => {
    respond(methods, request).then(
      (answer) => send(response, 200, JSON.stringify(answer)),
      (error: unknown) => {
        const message = error instanceof Refusal ? error.message : "internal error";
        send(response, 400, JSON.stringify({ error: message }, undefined, 2));
      },
    );
  });
  server.requestTimeout = requestTimeoutMs;
  server.headersTimeout = requestTimeoutMs;
  server.maxConnections = maxConnections;
  return server;
}

/** Never chunked: the JavaScript SDK reads a body by its Content-Length alone. */
function send(response: ServerResponse, status: number, text: string): void {
  const body = Buffer.from(text);
  response.writeHead(status, { "Content-Type": "application/json", "Content-Length": body.length });
  response.end(body);
}

async function respond(methods: ReadonlyMap<string, Method>, request: IncomingMessage): Promise<object> {
  const body = await readBody(request);
  const url = new URL(request.url ?? "/", "http://guest-agent"); // the Host header is the hex of a path: not looked at
  const name = url.pathname.replace(/^\/+/, "");
  const method = methods.get(name);
  if (method === undefined) throw new Refusal(`Service not found: ${name}`);
  if (request.method === "GET") return method(Object.fromEntries(url.searchParams));
  if (request.method !== "POST") throw new Refusal(`unsupported HTTP method ${request.method}`);
  return method(name === "Info" || name === "Version" ? {} : parseFields(body)); // an empty message is never parsed
}

async function readBody(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request) {
    if (!(chunk instanceof Uint8Array)) throw new Refusal("failed to read data: not bytes");
    size += chunk.length;
    if (size > maxBodyBytes) throw new Refusal("failed to read data: payload too large");
    chunks.push(chunk);
  }
  return concat(...chunks);
}

function parseFields(body: Uint8Array): Fields {
  if (body.length === 0) return {};
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    throw new Refusal("invalid JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Refusal("invalid JSON: expected an object");
  return Object.fromEntries(Object.entries(value));
}

/** At most 64 bytes, zeros at the end; bytes are hex in either case after any number of 0x. */
function reportDataOf(input: Fields): Uint8Array {
  const text = input["report_data"] ?? (Object.hasOwn(input, "report_data") ? null : "");
  if (typeof text !== "string") throw new Refusal("report_data: expected a hex string");
  const bytes = hexBytes(text.replace(/^(?:0x)+/, ""));
  if (bytes.length > reportDataBytes) throw new Refusal("Report data is too long");
  return concat(bytes, new Uint8Array(reportDataBytes - bytes.length));
}

function hexBytes(text: string): Uint8Array {
  try {
    return fromHex(text, "report_data");
  } catch {
    throw new Refusal("report_data: expected a hex string");
  }
}

function quoteAnswer(td: SimulatedTd, reportData: Uint8Array): object {
  const eventLog = jsonEvents(td).map((event) => (event.imr === 3 ? { ...event, digest: "" } : event));
  return {
    quote: toHex(td.quote(reportData)),
    event_log: JSON.stringify(eventLog),
    report_data: toHex(reportData),
    vm_config: td.vmConfig,
  };
}

function jsonEvents(td: SimulatedTd) {
  return td.eventLog().map((event) => ({
    imr: event.imr,
    event_type: event.eventType,
    digest: toHex(event.digest),
    event: event.event,
    event_payload: toHex(event.eventPayload),
    ...(event.version === 2 ? { version: 2 } : {}),
  }));
}

/** SHA-256 over MRTD, the four registers and the three owner fields, of which only mr_config_id is in use (tdx-attestation 3.5). */
function mrAggregated(td: SimulatedTd): Uint8Array {
  const owners = new Uint8Array(96);
  const hash = createHash("sha256").update(concat(td.mrTd, ...td.registers(), td.mrConfigId, owners));
  return new Uint8Array(hash.digest());
}

function infoAnswer(td: SimulatedTd, appName: string): object {
  const keyProvider = td.runtimeEvents().find((event) => event.event === "key-provider");
  const [rtmr0, rtmr1, rtmr2, rtmr3] = td.registers().map(toHex);
  const common = {
    mr_aggregated: toHex(mrAggregated(td)),
    os_image_hash: toHex(td.osImageHash),
    compose_hash: toHex(td.composeHash),
    device_id: unverifiedDeviceId,
  };
  const tcbInfo = {
    mrtd: toHex(td.mrTd),
    rtmr0,
    rtmr1,
    rtmr2,
    rtmr3,
    ...common,
    event_log: jsonEvents(td),
    app_compose: td.appCompose,
  };
  return {
    app_id: toHex(td.appId),
    instance_id: toHex(td.instanceId),
    app_cert: "",
    tcb_info: JSON.stringify(tcbInfo, undefined, 2),
    app_name: appName,
    device_id: common.device_id,
    mr_aggregated: common.mr_aggregated,
    os_image_hash: common.os_image_hash,
    key_provider_info: keyProvider === undefined ? "" : Buffer.from(keyProvider.payload).toString("utf8"),
    compose_hash: common.compose_hash,
    vm_config: td.vmConfig,
    cloud_vendor: "",
    cloud_product: "",
  };
}
