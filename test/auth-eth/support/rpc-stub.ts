/** An RPC endpoint that stands before a real chain and may break, delay or change what it answers, call by call. */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { bodyOf } from "./webhook.ts";

export interface RpcCall {
  readonly id: number;
  readonly method: string;
  readonly params: unknown[];
}

export type RpcAnswer = { readonly id: number; readonly result?: unknown; readonly error?: unknown };

/** `forward` asks the chain, the calls as they came or others. */
export type Fault = (
  calls: RpcCall[],
  response: ServerResponse,
  forward: (calls?: RpcCall[]) => Promise<RpcAnswer[]>,
) => void | Promise<void>;

export async function startRpcStub(chainUrl: string) {
  const sockets = new Set<Socket>();
  const headers = { "content-type": "application/json" };
  const stub = {
    url: "",
    /** Undefined: an honest endpoint. */
    fault: undefined as Fault | undefined,
    trips: 0,
    asked: [] as RpcCall[],
    authorization: undefined as string | undefined,
    connections: 0,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  const server = createServer(async (request, response) => {
    stub.trips += 1;
    stub.authorization = request.headers.authorization;
    const calls = JSON.parse(await bodyOf(request)) as RpcCall[];
    stub.asked.push(...calls);
    const forward = async (sent: RpcCall[] = calls) => {
      const answer = await fetch(chainUrl, {
        method: "POST",
        headers,
        body: JSON.stringify(sent.map((call) => ({ jsonrpc: "2.0", ...call }))),
      });
      return (await answer.json()) as RpcAnswer[];
    };
    try {
      if (stub.fault) await stub.fault(calls, response, forward);
      else response.end(JSON.stringify(await forward()));
    } catch {
      response.destroy(); // a slow answer may come when the chain is gone already
    }
  });
  server.on("connection", (socket) => {
    stub.connections += 1;
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  stub.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return stub;
}

export type RpcStub = Awaited<ReturnType<typeof startRpcStub>>;

/** The answers of the chain, changed as a whole. */
export function edited(edit: (answers: RpcAnswer[], calls: RpcCall[]) => unknown): Fault {
  return async (calls, response, forward) => void response.end(JSON.stringify(edit(await forward(), calls)));
}

/** Each answer of the chain, changed by its call. */
export function changed(change: (result: unknown, call: RpcCall) => unknown): Fault {
  return edited((answers, calls) =>
    answers.map((answer) => {
      const call = calls.find(({ id }) => id === answer.id);
      return call === undefined || answer.result === undefined ? answer : { ...answer, result: change(answer.result, call) };
    }),
  );
}

export const changedMethod = (method: string, result: unknown): Fault =>
  changed((given, call) => (call.method === method ? result : given));

/** Members of every block header. */
export const changedHeader = (members: (header: Record<string, string>) => object): Fault =>
  changed((given, { method }) =>
    method.startsWith("eth_getBlockBy") && given !== null
      ? { ...(given as object), ...members(given as Record<string, string>) }
      : given,
  );

/** The last bit of a word that eth_call answers. The program's first ones are number, parent and time of the block, chain id, code size. */
export const changedWord = (index: number): Fault =>
  changed((given, { method }) => {
    if (method !== "eth_call" || typeof given !== "string") return given;
    const words = Math.max(1, Math.floor((given.length - 2) / 64));
    const at = 2 + 64 * (index % words) + 63;
    return given.slice(0, at) + (Number.parseInt(given.charAt(at), 16) ^ 1).toString(16) + given.slice(at + 1);
  });

/** A lie that the program's own words confirm: header and reads agree on a block that nobody has. */
export const ahead = (blocks: number): Fault => {
  const moved = (number: string) => `0x${(Number(number) + blocks).toString(16)}`;
  return changed((given, { method }) => {
    if (method === "eth_getBlockByNumber") return { ...(given as object), number: moved((given as { number: string }).number) };
    if (method !== "eth_call" || typeof given !== "string") return given;
    const number = (Number.parseInt(given.slice(2, 66), 16) + blocks).toString(16).padStart(64, "0");
    return `0x${number}${given.slice(66)}`;
  });
};

/** What an honest endpoint that is so many blocks behind answers. */
export const lagging = (blocks: number): Fault => {
  return async (calls, response, forward) => {
    const [head] = await forward([{ id: 0, method: "eth_blockNumber", params: [] }]);
    const number = Number(head?.result) - blocks;
    const isAhead = ({ params }: RpcCall) =>
      params.some((p) => typeof p === "string" && /^0x[0-9a-f]{1,15}$/.test(p) && Number(p) > number);
    const own = (p: unknown) => (p === "latest" ? `0x${number.toString(16)}` : p);
    const answers = await forward(calls.map((call) => ({ ...call, params: call.params.map(own) })));
    const ahead = new Set(calls.filter(isAhead).map(({ id }) => id));
    response.end(JSON.stringify(answers.map((answer) => (ahead.has(answer.id) ? { id: answer.id, result: null } : answer))));
  };
};

/** Serves each tag from a block of its own: so many behind the chain's head, which is all that the embedded chain has. */
export const tagged = (behind: { readonly [tag: string]: number }): Fault => {
  return async (calls, response, forward) => {
    const [head] = await forward([{ id: 0, method: "eth_blockNumber", params: [] }]);
    const blockOf = (p: unknown) => {
      const blocks = typeof p === "string" ? behind[p] : undefined;
      return blocks === undefined ? p : `0x${(Number(head?.result) - blocks).toString(16)}`;
    };
    response.end(JSON.stringify(await forward(calls.map((call) => ({ ...call, params: call.params.map(blockOf) })))));
  };
};

export const slow = (ms: number, next?: Fault): Fault => {
  return async (calls, response, forward) => {
    await new Promise((resolve) => setTimeout(resolve, ms));
    if (next) await next(calls, response, forward);
    else response.end(JSON.stringify(await forward()));
  };
};

export const hanging: Fault = () => undefined;
export const dead: Fault = (_calls, response) => void response.destroy();
export const answering =
  (status: number, body = "{}"): Fault =>
  (_calls, response) =>
    void response.writeHead(status).end(body);

export const dripping: Fault = async (_calls, response) => {
  for (let sent = 0; sent < 400 && !response.destroyed; sent++) {
    response.write(" ");
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  response.destroy();
};
