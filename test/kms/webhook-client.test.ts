/** The way to the policy: one repetition for a call that nobody answered, none for an answer, a deadline over all, every member checked. */
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type AuthClient, createAuthClient } from "../../auth-eth/api.ts";
import { createWebhookPolicy, type Policy } from "../../kms/authorization/policy.ts";
import { bootInfo } from "./support/boots.ts";
import { refusal } from "./support/refusals.ts";
import { allowBody, infoBody } from "./support/webhook.ts";

const deadlineMs = 1_500;

type Behaviour = "answer" | "drop" | "silence" | "half" | 503;

let server: Server;
let sockets: Set<Socket>;
let calls: number;
/** One a call; when they are used up, an answer. */
let behaviours: Behaviour[];
let body: string;
let client: AuthClient;
let policy: Policy;

beforeEach(async () => {
  calls = 0;
  behaviours = [];
  sockets = new Set();
  body = allowBody;
  server = createServer((request, response) => {
    calls += 1;
    request.resume().on("end", () => behave(behaviours.shift() ?? "answer", response));
  });
  server.on("connection", (socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  client = createAuthClient({ url: `http://127.0.0.1:${port}`, deadlineMs });
  policy = createWebhookPolicy(client);
});
afterEach(async () => {
  client.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function behave(behaviour: Behaviour, response: ServerResponse): void {
  if (behaviour === "silence") return;
  if (behaviour === "drop") response.destroy();
  else if (behaviour === "half") response.writeHead(200, { "content-length": body.length }).write(body.slice(0, 5));
  else response.writeHead(behaviour === "answer" ? 200 : behaviour).end(body);
}

const ask = () => policy.ask("app", bootInfo());

test("calls share a kept connection", async () => {
  for (let call = 0; call < 5; call++) expect(await ask()).toEqual({ allowed: true, gatewayAppId: "gateway" });
  expect([calls, sockets.size]).toEqual([5, 1]);
});

describe("a call", () => {
  test("that nobody answered is repeated once", async () => {
    behaviours = ["drop"];
    expect(await ask()).toMatchObject({ allowed: true });
    expect(calls).toBe(2);
  });

  test.each<[string, Behaviour[], number]>([
    ["nobody answered twice", ["drop", "drop"], 2],
    ["was answered with a failure", [503], 1],
    ["was not answered in time", ["silence"], 1],
    ["was answered by half", ["half"], 1],
  ])("that %s is unavailable, never a denial", async (_name, behaviour, asked) => {
    behaviours = behaviour;
    const began = performance.now();
    expect((await refusal(ask())).code).toBe("unavailable.webhook");
    expect(performance.now() - began).toBeLessThan(deadlineMs + 1_000);
    expect(calls).toBe(asked);
  });
});

describe("an answer with a member that is not what it should be is no answer:", () => {
  test.each([
    { isAllowed: 1 },
    { isAllowed: null },
    { isAllowed: undefined },
    { gatewayAppId: undefined },
    { gatewayAppId: 7 },
    { reason: undefined },
    { reason: null },
  ])("decision with %j", async (change) => {
    body = JSON.stringify({ ...JSON.parse(allowBody), ...change });
    expect((await refusal(ask())).code).toBe("unavailable.webhook");
  });

  test.each([
    { status: undefined },
    { kmsContractAddr: 1 },
    { gatewayAppId: undefined },
    { chainId: "31337" },
    { chainId: -1 },
    { appImplementation: null },
    { kmsInfo: { k256Pubkey: "02" } },
  ])("description with %j", async (change) => {
    body = JSON.stringify({ ...JSON.parse(infoBody), ...change });
    expect((await refusal(policy.info())).code).toBe("unavailable.webhook");
  });
});

test("a foreign member named code that is no code changes nothing", async () => {
  body = JSON.stringify({ isAllowed: false, gatewayAppId: "", reason: "authorization backend unavailable", code: 7 });
  expect(await ask()).toMatchObject({ allowed: false, unavailable: true });
});
