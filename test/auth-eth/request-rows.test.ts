/** Every kind of request that the protocol's table names, one row each, bytes as written, against the running server and a chain. */
import { Agent, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decisionSchema } from "../../auth-eth/api.ts";
import { maxBodyBytes } from "../../auth-eth/request-body.ts";
import { type Ask, ask } from "../support/http-client.ts";
import { type Generation, generations, hashOf, oddApps, startChain, type TestChain } from "./support/chain.ts";
import { invalid, startWebhook, unavailable, withoutAdded } from "./support/webhook.ts";

const gatewayAppId = "gateway-app";
const strip = (hex: string) => hex.replace(/^0x/, "");
const allowed = { isAllowed: true, reason: "", gatewayAppId };
const denied = (reason: string) => ({ isAllowed: false, reason, gatewayAppId });
const notFound = { status: "error", message: "not found" };
const backendError = { status: "error", message: "authorization backend unavailable" };

let chain: TestChain;
let appId: string;
/** By what is wrong with it. */
const webhooks = new Map<string, Awaited<ReturnType<typeof startWebhook>>>();
const broken = createServer((_request, response) => void response.writeHead(500).end("{}"));
/** One connection for all rows: none may spoil it for the next. */
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

async function start(generation: Generation): Promise<void> {
  chain = await startChain(generation);
  const { write, address } = chain.kmsAuth;
  await chain.allowKms();
  await write.setGatewayAppId([gatewayAppId]);
  appId = strip(await chain.createApp({ composeHash: hashOf("c") })).toLowerCase();
  await chain.placeOddApps();
  const good = { ETH_RPC_URL: chain.rpcUrl, KMS_CONTRACT_ADDR: address };
  const environments: Record<string, Record<string, string>> = {
    nothing: {},
    "an RPC that is down": { ETH_RPC_URL: "http://127.0.0.1:1" },
    "an RPC that answers 500": { ETH_RPC_URL: `http://127.0.0.1:${(broken.address() as AddressInfo).port}` },
    "no contract": { KMS_CONTRACT_ADDR: `0x${"12".repeat(20)}` },
    "the wrong chain": { ETH_CHAIN_ID: "1" },
  };
  for (const [name, env] of Object.entries(environments)) webhooks.set(name, await startWebhook({ ...good, ...env }));
}
async function stop(): Promise<void> {
  for (const webhook of webhooks.values()) await webhook.close();
  await chain.close();
}
beforeAll(() => new Promise<void>((resolve) => broken.listen(0, "127.0.0.1", resolve)));
afterAll(() => {
  agent.destroy();
  broken.close();
});

const send = (path: string, request: Ask, wrong = "nothing") => ask(webhooks.get(wrong)?.url ?? "", path, { agent, ...request });
const json = { "content-type": "application/json" };
const bootBody = () => ({
  teeVariant: "dstack-tdx",
  mrAggregated: strip(hashOf("1")),
  osImageHash: strip(hashOf("2")),
  mrSystem: "",
  appId,
  composeHash: strip(hashOf("c")),
  instanceId: "",
  deviceId: strip(hashOf("3")),
  keyProviderInfo: "",
  tcbStatus: "UpToDate",
  advisoryIds: [],
});
type Bytes = string | Uint8Array;
/** A request with some members changed, as text; undefined drops one. */
const boot = (changes: Record<string, unknown> = {}): string => JSON.stringify({ ...bootBody(), ...changes });
const inserted = (text: string): string => boot().replace("{", `{${text},`);
const appended = (text: string): string => boot().replace(/}$/, `,${text}}`);
const padded = (size: number): string => boot().padEnd(size);
const chunked = { ...json, "transfer-encoding": "chunked" };
const type = (name: string) => ({ "content-type": name });

type Row = [name: string, body: () => Bytes, status: number, answer: object, headers?: Record<string, string>];
const rows: Row[] = [
  ["contract allows", () => boot(), 200, allowed],
  ["contract denies", () => boot({ osImageHash: strip(hashOf("9")) }), 200, denied("OS image is not allowed")],
  ["a member missing", () => boot({ mrAggregated: undefined }), 400, invalid],
  ["a member too long", () => boot({ mrAggregated: "1".repeat(65) }), 400, invalid],
  ["a member too short", () => boot({ mrAggregated: "1".repeat(63) }), 400, invalid],
  ["an app id of 21 bytes", () => boot({ appId: "1".repeat(42) }), 400, invalid],
  ["a member not hex", () => boot({ mrAggregated: "z".repeat(64) }), 400, invalid],
  ["a prefix 0X", () => boot({ mrAggregated: `0X${strip(hashOf("1"))}` }), 400, invalid],
  ["a space before", () => boot({ mrAggregated: ` ${strip(hashOf("1"))}` }), 400, invalid],
  ["a line end after", () => boot({ mrAggregated: `${strip(hashOf("1"))}\n` }), 400, invalid],
  ["malformed JSON", () => "{", 400, invalid],
  ["JSON and more", () => `${boot()}x`, 400, invalid],
  ["two values", () => boot() + boot(), 400, invalid],
  ["an empty body", () => "", 400, invalid],
  ["a boolean where a string is due", () => boot({ mrAggregated: true }), 400, invalid],
  ["a member given twice, the last one good", () => inserted('"mrAggregated":"zz"'), 200, allowed],
  ["a member given twice, the last one bad", () => appended('"mrAggregated":"zz"'), 400, invalid],
  [
    "a member twice, the last one not allowed",
    () => appended(`"osImageHash":"${"9".repeat(64)}"`),
    200,
    denied("OS image is not allowed"),
  ],
  ["an array", () => "[]", 400, invalid],
  ["the request in an array", () => `[${boot()}]`, 400, invalid],
  ["a string", () => JSON.stringify(boot()), 400, invalid],
  ["null", () => "null", 400, invalid],
  ["a number", () => "1", 400, invalid],
  ["text/plain", () => boot(), 400, invalid, type("text/plain")],
  ["a type that only begins like JSON", () => boot(), 400, invalid, type("application/jsonx")],
  ["no content type", () => boot(), 400, invalid, {}],
  ["an empty content type", () => boot(), 400, invalid, type("")],
  ["application/vnd.x+json", () => boot(), 200, allowed, type("application/vnd.x+json")],
  ["JSON with a charset", () => boot(), 200, allowed, type("Application/JSON; charset=utf-8")],
  ["__proto__", () => inserted('"__proto__":{"isAllowed":true,"mrAggregated":"zz"}'), 200, allowed],
  ["constructor and toString", () => inserted('"constructor":1,"toString":null'), 200, allowed],
  ["unknown members", () => boot({ surprise: { a: [1] }, keyProviderInfo: 5 }), 200, allowed],
  ["1 MiB", () => padded(maxBodyBytes), 200, allowed],
  ["over 1 MiB, announced", () => padded(maxBodyBytes + 1), 413, invalid],
  ["over 1 MiB of text", () => padded(maxBodyBytes + 1), 413, invalid, type("text/plain")],
  ["a chunked request", () => boot(), 200, allowed, chunked],
  ["1 MiB, chunked", () => padded(maxBodyBytes), 200, allowed, chunked],
  ["over 1 MiB, chunked", () => padded(maxBodyBytes + 1), 413, invalid, chunked],
  ["over 2 MiB, chunked", () => padded(2 * maxBodyBytes + 1), 413, invalid, chunked],
  ["text, chunked", () => padded(maxBodyBytes), 400, invalid, { ...chunked, ...type("text/plain") }],
  ["a number where a string is due", () => boot({ mrAggregated: 1234 }), 400, invalid],
  ["null where a string is due", () => boot({ composeHash: null }), 400, invalid],
  ["an array of one where a string is due", () => boot({ mrAggregated: [strip(hashOf("1"))] }), 400, invalid],
  ["an object where a string is due", () => boot({ mrAggregated: {} }), 400, invalid],
  ["advisories that are one string", () => boot({ advisoryIds: "INTEL-SA-1" }), 400, invalid],
  ["an advisory that is a number", () => boot({ advisoryIds: [1] }), 400, invalid],
  ["128 code points of TCB status", () => boot({ tcbStatus: "😀".repeat(128) }), 200, allowed],
  ["129 code points of TCB status", () => boot({ tcbStatus: "😀".repeat(129) }), 400, invalid],
  ["128 advisories of 256 code points", () => boot({ advisoryIds: Array(128).fill("😀".repeat(256)) }), 200, allowed],
  ["an advisory of 257 code points", () => boot({ advisoryIds: ["x".repeat(257)] }), 400, invalid],
  ["129 advisories", () => boot({ advisoryIds: Array(129).fill("x") }), 400, invalid],
  ["an appId all upper-case", () => boot({ appId: appId.toUpperCase() }), 200, allowed],
  ["an appId with a wrong checksum", () => boot({ appId: `0x${mixedCase(appId)}` }), 200, allowed],
  ["an instanceId with a wrong checksum", () => boot({ instanceId: `0x${"aB".repeat(20)}` }), 200, allowed],
  ["an app contract that reverts", () => boot({ appId: oddApps.reverts.address }), 200, unavailable],
  ["an app contract that loops", () => boot({ appId: oddApps.loops.address }), 200, unavailable],
  ["an app contract that answers too little", () => boot({ appId: oddApps.answersTooLittle.address }), 200, unavailable],
  [
    "an address without code",
    () => boot({ appId: oddApps.withoutCode.address }),
    200,
    denied("App not deployed or invalid address"),
  ],
  ["a byte that is no UTF-8", () => Buffer.concat([Buffer.from(boot()), Buffer.from([0xff])]), 400, invalid],
  ["an overlong form within a text", () => Buffer.from(appended('"tcbStatus":"\u00c0\u0080"'), "latin1"), 400, invalid],
  ["half a surrogate, escaped", () => boot({ tcbStatus: "\ud83d" }), 200, allowed],
  ["UTF-16", () => Buffer.from(boot(), "utf16le"), 400, invalid],
  ["arrays nested 500,000 deep", () => "[".repeat(500_000), 400, invalid],
  ["objects nested 100,000 deep", () => `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`, 400, invalid],
  ["an unknown member nested 50,000 deep", () => inserted(`"a":${"[".repeat(50_000)}${"]".repeat(50_000)}`), 200, allowed],
];

describe.each(generations)("before the contracts %s", (generation) => {
  beforeAll(() => start(generation));
  afterAll(stop);

  describe("POST /bootAuth/app", () => {
    test.each(rows)("%s", async (_name, body, status, answer, headers = json) => {
      const given = await send("/bootAuth/app", { method: "POST", headers, body: body() });
      expect({ status: given.status, json: withoutAdded(JSON.parse(given.text)) }).toEqual({ status, json: answer });
      expect(given.headers["content-type"]).toBe("application/json");
      expect((await send("/bootAuth/app", { method: "POST", headers: json, body: boot() })).status).toBe(200);
    });
  });

  describe("an outage", () => {
    const outages = [
      ["an RPC that is down", "unavailable.rpc-network"],
      ["an RPC that answers 500", "unavailable.rpc-status"],
      ["no contract", expect.stringMatching(/^unavailable\.(contract-answer|no-contract)$/)],
      ["the wrong chain", "unavailable.chain-id"],
    ] as const;
    test.each(outages)("with %s says so in its code, and in the protocol's words", async (wrong, code) => {
      for (const kind of ["app", "kms"]) {
        const { status, text } = await send(`/bootAuth/${kind}`, { method: "POST", headers: json, body: boot() }, wrong);
        expect([status, withoutAdded(JSON.parse(text))]).toEqual([200, unavailable]);
        expect(decisionSchema.parse(JSON.parse(text)).code).toEqual(code);
      }
      const { status, text } = await send("/", {}, wrong);
      expect([status, JSON.parse(text)]).toEqual([500, backendError]);
      const ready = await send("/ready", {}, wrong);
      expect([ready.status, JSON.parse(ready.text)]).toEqual([503, { status: "unavailable", code }]);
      expect((await send("/health", {}, wrong)).status).toBe(200);
    });
  });

  describe("routes", () => {
    test.each([
      ["GET", "/bootAuth/app"],
      ["PUT", "/bootAuth/app"],
      ["DELETE", "/bootAuth/kms"],
      ["OPTIONS", "/bootAuth/app"],
      ["POST", "/bootAuth/app/"],
      ["POST", "//bootAuth/app"],
      ["POST", "/bootauth/app"],
      ["POST", "/bootAuth/other"],
      ["POST", "/bootAuth"],
      ["POST", "/"],
      ["POST", "/health"],
      ["GET", "/other"],
      ["GET", "/metrics/"],
    ])("does not know %s %s", async (method, path) => {
      const { status, text } = await send(path, { method, ...(method.startsWith("P") && { headers: json, body: boot() }) });
      expect([status, JSON.parse(text)]).toEqual([404, notFound]);
    });

    test("answers GET / with the chain's values, and HEAD / with its headers alone", async () => {
      const implementation = await chain.kmsAuth.read.appImplementation();
      const { status, headers, text } = await send("/", {});
      expect([status, JSON.parse(text)]).toEqual([
        200,
        {
          status: "ok",
          kmsContractAddr: chain.kmsAuth.address,
          ethRpcUrl: chain.rpcUrl,
          gatewayAppId,
          chainId: chain.chainId,
          appImplementation: implementation,
          appAuthImplementation: implementation,
          kmsInfo: null,
        },
      ]);
      const head = await send("/", { method: "HEAD" });
      expect([head.status, head.text, head.headers["content-type"]]).toEqual([200, "", headers["content-type"]]);
    });

    test("carries the keys once they are on the chain", async () => {
      await chain.kmsAuth.write.setKmsInfo([{ k256Pubkey: "0x02AA", caPubkey: "0x3059", quote: "0x", eventlog: "0x" }]);
      expect(JSON.parse((await send("/", {})).text)).toMatchObject({ kmsInfo: { k256Pubkey: "02aa", caPubkey: "3059" } });
    });

    test("is ready, and says at which block", async () => {
      const { number } = (await chain.rpc("eth_getBlockByNumber", ["latest", false])) as { number: string };
      const { status, text } = await send("/ready", {});
      expect([status, JSON.parse(text)]).toEqual([
        200,
        { status: "ready", block: expect.objectContaining({ number: Number(number) }) },
      ]);
    });
  });
});

function mixedCase(hex: string): string {
  return [...hex].map((digit, index) => (index % 2 === 0 ? digit.toUpperCase() : digit.toLowerCase())).join("");
}
