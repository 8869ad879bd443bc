/** The simulator's two services over their real transports: the PCCS with the real collateral store, the guest agent on its socket. */
import { mkdtemp, rm } from "node:fs/promises";
import { request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { decodeEvidence } from "../../kms/attestation/evidence.ts";
import { createCollateralStore } from "../../kms/attestation/tdx/collateral-store.ts";
import { parseQuote } from "../../kms/attestation/tdx/quote.ts";
import { loadTrustAnchor } from "../../kms/attestation/tdx/trust-anchor.ts";
import { verifyQuote } from "../../kms/attestation/tdx/verify.ts";
import { fromHex, toHex } from "../../kms/bytes.ts";
import { createGuestAgent } from "../../kms/ra-tls/guest-agent.ts";
import { closeServer } from "../../scripts/devnet/child-process.ts";
import { createGuestAgentServer } from "../../scripts/devnet/guest-agent.ts";
import { createPccs } from "../../scripts/devnet/pccs.ts";
import { simulatedPlatform, simulatedTd } from "../support/simulated-td.ts";

const platform = simulatedPlatform();
const td = simulatedTd({ platform, appId: new Uint8Array(20).fill(3), keyProvider: '{"name":"local-sgx","id":"ab"}' });
const now = () => new Date();
let folder: string;
let socket: string;
let pccs: Server;
let agent: Server;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "kw-"));
  socket = join(folder, "agent.sock");
  pccs = createPccs(platform, now);
  agent = createGuestAgentServer(td, { appName: "app", version: "0.1.0" });
  await new Promise<void>((resolve) => pccs.listen(0, "127.0.0.1", resolve));
  await new Promise<void>((resolve) => agent.listen(socket, resolve));
});

afterAll(async () => {
  await closeServer(pccs);
  await closeServer(agent);
  await rm(folder, { recursive: true });
});

const pccsUrl = () => `http://127.0.0.1:${(pccs.address() as AddressInfo).port}`;

interface Reply {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly json: Record<string, unknown>;
}

function call(path: string, options: { method?: string; body?: string; headers?: Record<string, string> } = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const method = options.method ?? "POST";
    const outgoing = request(
      { socketPath: socket, path, method, headers: { host: "2f746d70:0", ...options.headers } },
      (reply) => {
        let text = "";
        reply.setEncoding("utf8").on("data", (chunk: string) => {
          text += chunk;
        });
        reply.on("end", () => resolve({ status: reply.statusCode, headers: reply.headers, json: JSON.parse(text) }));
      },
    );
    outgoing.on("error", reject).end(options.body);
  });
}

test("the collateral store fetches what verifies the machine's quote", async () => {
  const anchor = loadTrustAnchor(platform.rootDer);
  const store = createCollateralStore({ pccsUrl: pccsUrl(), anchor, now });
  const quote = parseQuote(td.quote(new Uint8Array(64)));
  const collateral = await store.collateralFor(quote);
  expect(verifyQuote({ quote, collateral, anchor, now: now() }).status).toBe("UpToDate");
});

test.each(["/sgx/certification/v4/pckcrl?ca=processor", "/tdx/certification/v4/tcb?fmspc=000000000000", "/nothing"])(
  "the PCCS has nothing at %s",
  async (path) => {
    expect((await fetch(pccsUrl() + path)).status).toBe(404);
  },
);

test("the PCCS answers the root list as hex text with nothing around it", async () => {
  const text = await (await fetch(`${pccsUrl()}/sgx/certification/v4/rootcacrl`)).text();
  expect(text).toBe(toHex(fromHex(text, "root list")));
});

test("the real client gets evidence over its report data, and the VM configuration", async () => {
  const client = createGuestAgent(`unix:${socket}`);
  const reportData = new Uint8Array(64).fill(9);
  const evidence = decodeEvidence(await client.attest(reportData));
  expect(toHex(evidence.stack.reportData)).toBe(toHex(reportData));
  expect(evidence.stack.config).toBe(td.vmConfig);
  expect((await client.info()).vmConfig).toBe(td.vmConfig);
});

const accepted: [string, string, { method?: string; body?: string; headers?: Record<string, string> }][] = [
  ["?json without a content type", "/Attest?json", { body: '{"report_data":"0xABcd"}' }],
  [
    "a JSON content type without ?json",
    "/Attest",
    { body: '{"report_data":"abcd"}', headers: { "content-type": "application/json" } },
  ],
  ["GET with a query", "/Attest?report_data=abcd", { method: "GET" }],
];
test.each(accepted)("accepts %s, pads at the end, and is never chunked", async (_, path, options) => {
  const { status, headers, json } = await call(path, options);
  expect(status).toBe(200);
  expect(headers["transfer-encoding"]).toBeUndefined();
  expect(Number(headers["content-length"])).toBeGreaterThan(0);
  const evidence = decodeEvidence(fromHex(String(json["attestation"]), "attestation"));
  expect(toHex(evidence.stack.reportData)).toBe(`abcd${"00".repeat(62)}`);
});

const refused: [string, string, string, string][] = [
  ["65 bytes of report data", "/Attest", `{"report_data":"${"00".repeat(65)}"}`, "Report data is too long"],
  ["a method behind a mount point it does not have", "/prpc/Attest", "{}", "Service not found: prpc/Attest"],
  ["a method with a service prefix", "/DstackGuest.Info", "{}", "Service not found: DstackGuest.Info"],
  ["null for bytes", "/Attest", '{"report_data":null}', "report_data: expected a hex string"],
  ["garbage", "/Attest", "{", "invalid JSON"],
];
test.each(refused)("answers 400 with a reason to %s", async (_, path, body, message) => {
  const { status, json } = await call(path, { body });
  expect([status, json]).toEqual([400, { error: message }]);
});

test("Info and GetQuote tell what the evidence tells", async () => {
  const { json: info } = await call("/Info", { body: "null" });
  expect(info["app_id"]).toBe("03".repeat(20));
  expect(info["compose_hash"]).toBe(toHex(td.composeHash));
  expect(info["key_provider_info"]).toBe('{"name":"local-sgx","id":"ab"}');
  expect(JSON.parse(String(info["tcb_info"]))["rtmr3"]).toBe(toHex(td.registers()[3]));
  const { json: quoted } = await call("/GetQuote", { body: "{}" });
  expect(parseQuote(fromHex(String(quoted["quote"]), "quote")).version).toBe(4);
});
