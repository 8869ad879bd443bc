/** A chain endpoint that fails in every way: the webhook answers the generic refusal with its code in time, leaks nothing, and recovers. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BootKind, bootInfoSchema } from "../../auth-eth/api.ts";
import { UnavailableError } from "../../auth-eth/unavailable.ts";
import { type Generation, generations, hashOf, kmsRequest as request, startChain, type TestChain } from "./support/chain.ts";
import { timed } from "./support/fair-time.ts";
import {
  answering,
  changed,
  changedHeader,
  changedMethod,
  changedWord,
  dead,
  dripping,
  edited,
  type Fault,
  hanging,
  type RpcAnswer,
  type RpcStub,
  startRpcStub,
} from "./support/rpc-stub.ts";
import { startWebhook, unavailable } from "./support/webhook.ts";

/** For what never answers. */
const deadlineMs = 800;
/** What does answer is not waited for, so that a busy machine makes no other fault of it. */
const longDeadlineMs = 8_000;
const slackMs = 1_000;
const secret = "s3cret-key";
const infoError = { status: 500, json: { status: "error", message: "authorization backend unavailable" } };
const word = (hex: string) => hex.padStart(64, "0");
const nextBlock = (number: string | undefined) => `0x${(Number(number) + 1).toString(16)}`;

const eachAnswer = (answer: (given: RpcAnswer) => object): Fault => edited((answers) => answers.map(answer));
/** What the node says to calls alone, so that the program and the calls behind it are both met. */
const toCalls = (result: unknown): Fault => changedMethod("eth_call", result);
/** Reads of the block after the one that was asked for, as from a node whose head moved within one request. */
const readsElsewhere: Fault = async (calls, response, forward) => {
  const headers = (await forward()).map((answer, i) => (calls[i]?.method === "eth_getBlockByNumber" ? answer : undefined));
  const target = nextBlock((headers.find((answer) => answer !== undefined)?.result as { number: string } | undefined)?.number);
  const moved = await forward(
    calls.map((call) => (call.method === "eth_call" ? { ...call, params: [call.params[0], target] } : call)),
  );
  response.end(JSON.stringify(moved));
};

/** The code, or nothing where a change is not seen in every question alike. */
const faults: [name: string, code: string, fault: Fault][] = [
  ["ends the connection", "rpc-network", dead],
  ["never answers", "rpc-timeout", hanging],
  ["drips a byte at a time", "rpc-timeout", dripping],
  ["sends the head of an answer only", "rpc-timeout", (_calls, response) => void response.writeHead(200).flushHeaders()],
  ["ends within an answer", "rpc-network", (_calls, response) => void response.write("[", () => response.destroy())],
  ["answers 429", "rpc-status", answering(429)],
  ["answers 500", "rpc-status", answering(500, secret)],
  ["redirects", "rpc-status", (_calls, response) => void response.writeHead(307, { location: "http://127.0.0.1:1/" }).end()],
  ["answers garbage", "rpc-garbage", answering(200, `<html>${secret}</html>`)],
  ["answers nothing", "rpc-garbage", answering(200, "")],
  ["answers malformed UTF-8", "rpc-garbage", (_calls, response) => void response.end(Buffer.from([0x5b, 0xff, 0x5d]))],
  ["answers an object", "rpc-garbage", answering(200, '{"jsonrpc":"2.0","id":0,"result":"0x1"}')],
  ["answers an empty batch", "rpc-garbage", answering(200, "[]")],
  ["answers one of many", "rpc-garbage", edited((answers) => answers.slice(0, 1))],
  ["answers one more", "rpc-garbage", edited((answers) => [...answers, { id: 99, result: "0x1" }])],
  ["answers one id twice", "rpc-garbage", eachAnswer((answer) => ({ ...answer, id: 0 }))],
  ["answers other ids", "rpc-garbage", eachAnswer((answer) => ({ ...answer, id: answer.id + 7 }))],
  ["answers ids as text", "rpc-garbage", eachAnswer((answer) => ({ ...answer, id: `${answer.id}` }))],
  ["answers errors", "rpc-error", eachAnswer(({ id }) => ({ id, error: { code: -32_000, message: secret } }))],
  ["answers neither result nor error", "rpc-garbage", eachAnswer(({ id }) => ({ id }))],
  ["answers a huge body", "rpc-too-large", answering(200, `[${" ".repeat(2 * 1024 * 1024)}]`)],
  ["names another chain", "chain-id", changedMethod("eth_chainId", "0x1")],
  ["names a chain id that is no quantity", "rpc-garbage", changedMethod("eth_chainId", "31337")],
  ["names a padded chain id", "rpc-garbage", changedMethod("eth_chainId", "0x07a69")],
  ["names a chain id beyond numbers", "chain-id", changedMethod("eth_chainId", `0x${"f".repeat(16)}`)],
  ["runs on another chain", "chain-id", changedWord(3)],
  ["has no head", "chain-head", changedMethod("eth_getBlockByNumber", null)],
  ["names a head that is no block", "rpc-garbage", changedMethod("eth_getBlockByNumber", { number: -1 })],
  ["names a head without a hash", "rpc-garbage", changedHeader(() => ({ hash: null }))], // as a pending block has none
  ["names a head that nobody has", "chain-head", changedHeader(() => ({ hash: hashOf("e"), parentHash: hashOf("d") }))],
  ["names a head of long ago", "stale", changedHeader(() => ({ timestamp: "0x1" }))],
  ["reads at a block that is not there", "rpc-error", readsElsewhere],
  ["has no contract", "no-contract", toCalls("0x")],
  ["answers calls with zeros", "contract-answer", toCalls(`0x${word("0")}`)],
  ["answers calls with a boolean of two", "contract-answer", toCalls(`0x${word("2")}${word("40")}${word("0")}`)],
  ["answers calls with odd hex", "contract-answer", toCalls("0x123")],
  ["answers calls with null", "contract-answer", toCalls(null)],
  [
    "answers calls at length",
    "contract-answer",
    changed((given, { method }) => (method === "eth_call" ? `0x${"11".repeat(24_577)}` : given)),
  ],
];

describe.each(generations)("before the contracts %s", (generation: Generation) => {
  let chain: TestChain;
  let stub: RpcStub;
  let rpcUrl: string;
  let webhook: Awaited<ReturnType<typeof startWebhook>>;
  let hasty: typeof webhook;
  const env = (ms = longDeadlineMs) => ({
    ETH_RPC_URL: rpcUrl,
    KMS_CONTRACT_ADDR: chain.kmsAuth.address,
    AUTH_DEADLINE_MS: `${ms}`,
  });
  const deadlineFor = (code: string) => (code === "rpc-timeout" ? deadlineMs : longDeadlineMs);

  beforeAll(async () => {
    chain = await startChain(generation);
    await chain.allowKms();
    stub = await startRpcStub(chain.rpcUrl);
    rpcUrl = `http://user:${secret}@${new URL(stub.url).host}/v1/${secret}?key=${secret}`;
    webhook = await startWebhook(env());
    hasty = await startWebhook(env(deadlineMs));
  });
  afterAll(async () => {
    await webhook.close();
    await hasty.close();
    await stub.close();
    await chain.close();
  });

  test("serves credentials of the URL as Basic authorization", async () => {
    expect((await webhook.ask("kms", request)).code).toBe("allowed");
    expect(stub.authorization).toBe(`Basic ${btoa(`user:${secret}`)}`);
    expect((await webhook.send("/")).json).toMatchObject({ ethRpcUrl: new URL(rpcUrl).origin });
  });

  test.each(faults)("refuses within its deadline when the endpoint %s, then recovers", async (_name, code, fault) => {
    Object.assign(stub, { fault, trips: 0 });
    const asked = code === "rpc-timeout" ? hasty : webhook;
    const { answer, ms } = await timed(Promise.all([asked.ask("kms", request), asked.ask("app", request), asked.send("/")]));
    const [kms, app, info] = answer;
    stub.fault = undefined;
    const { isAllowed, reason, gatewayAppId } = kms;
    expect([kms.code, app.code, { isAllowed, reason, gatewayAppId }]).toEqual([
      `unavailable.${code}`,
      `unavailable.${code}`,
      unavailable,
    ]);
    expect(info).toEqual(infoError);
    expect(ms).toBeLessThan(deadlineMs + slackMs);
    expect(stub.trips).toBeLessThanOrEqual(1 + 3 * 3); // three questions, an attempt of one trip and a retry of two, one trip shared
    await expect.poll(async () => (await asked.ask("kms", request)).code, { timeout: longDeadlineMs }).toBe("allowed");
  });

  test.each(faults)(
    "decisions that share a request refuse in their own words when the endpoint %s",
    async (_name, code, fault) => {
      const fresh = await startWebhook(env(deadlineFor(code)));
      const boot = bootInfoSchema.parse(request);
      const together = (...kinds: BootKind[]) =>
        Promise.all(
          kinds.map((kind) =>
            fresh.authority.decide(kind, boot).then(
              (decision) => decision.code,
              (error: unknown) => (error instanceof UnavailableError ? error.boundary : "internal"),
            ),
          ),
        );
      Object.assign(stub, { fault, trips: 0 });
      const { answer, ms } = await timed(together("kms", "app", "kms"));
      expect(answer).toEqual([code, code, code]);
      expect(ms).toBeLessThan(deadlineMs + slackMs);
      expect(stub.trips).toBeLessThanOrEqual(1 + 3 * 3); // one that they share, then for each its own and the retry of two
      stub.fault = undefined;
      expect(await together("kms", "app", "kms")).toEqual(["allowed", "denied.app-not-registered", "allowed"]);
      await fresh.close();
    },
  );

  test("answers in the time of its row when nothing listens", async () => {
    const alone = await startWebhook({ ...env(), ETH_RPC_URL: "http://127.0.0.1:1" });
    const { answer, ms } = await timed(alone.ask("kms", request));
    expect(answer.code).toBe("unavailable.rpc-network");
    expect(ms).toBeLessThan(slackMs);
    await alone.close();
  });

  test("sees a change at once: nothing is remembered from one question to the next", async () => {
    for (let round = 0; round < 3; round++) {
      await chain.kmsAuth.write.removeKmsDevice([request.deviceId]);
      expect((await webhook.ask("kms", request)).code).toBe("denied.device");
      await chain.kmsAuth.write.addKmsDevice([request.deviceId]);
      expect((await webhook.ask("kms", request)).code).toBe("allowed");
    }
  });

  test.each([
    ["a chain of another id", { ETH_CHAIN_ID: "1" }, "chain-id"],
    ["a head below the confirmations", { ETH_FINALITY_CONFIRMATIONS: "100000" }, "chain-head"],
    ["a contract address without code", { KMS_CONTRACT_ADDR: `0x${"12".repeat(20)}` }, "no-contract"],
  ])("refuses with %s", async (_name, more, code) => {
    const other = await startWebhook({ ...env(), ...more });
    expect((await other.ask("kms", request)).code).toBe(`unavailable.${code}`);
    expect(await other.send("/")).toEqual(infoError);
    await other.close();
  });

  test("the log names neither the endpoint nor its words", () => {
    expect(webhook.entries.length).toBeGreaterThan(50);
    for (const entry of [...webhook.entries, ...hasty.entries]) expect(entry).not.toMatch(/s3cret|http|127\.0\.0\.1/);
  });
});
