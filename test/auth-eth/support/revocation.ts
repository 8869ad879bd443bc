/** Revokes while decisions run, and times them by the chain's own announcement of the block that carries the revocation. */
import { setTimeout as sleep } from "node:timers/promises";
import { kmsRequest, type TestChain } from "./chain.ts";

export interface RevocationRound {
  readonly block: number;
  /** From the announcement to the end of the first decision that refused; below zero when that overtook the announcement. */
  readonly headToRefusalMs: number;
  /** Decisions that started after the announcement, and those among them that allowed. */
  readonly decisions: number;
  readonly allowed: number;
}

export interface RevocationSettings {
  readonly chain: TestChain;
  /** One decision about `kmsRequest` as a KMS. */
  readonly ask: () => Promise<{ readonly isAllowed: boolean }>;
  readonly rounds: number;
  readonly blockMs: number;
}

const loops = 4;
/** Of every loop, after the announcement. */
const refusalsWanted = 5;
const patienceMs = 20_000;

export async function revokeRepeatedly({ chain, ask, rounds, blockMs }: RevocationSettings): Promise<RevocationRound[]> {
  const { kmsAuth } = chain;
  await kmsAuth.write.addKmsAggregatedMr([kmsRequest.mrAggregated]);
  await kmsAuth.write.addOsImageHash([kmsRequest.osImageHash]);
  const heads = await subscribe(chain.rpcUrl);
  await chain.rpc("evm_setAutomine", [false]);
  await chain.rpc("evm_setIntervalMining", [blockMs]);
  try {
    const results: RevocationRound[] = [];
    for (let round = 0; round < rounds; round++) {
      await mined(chain, await kmsAuth.write.addKmsDevice([kmsRequest.deviceId]));
      results.push(await revokeOnce(chain, ask, heads));
    }
    return results;
  } finally {
    heads.close();
    await chain.rpc("evm_setIntervalMining", [0]);
    await chain.rpc("evm_setAutomine", [true]);
  }
}

async function revokeOnce(chain: TestChain, ask: RevocationSettings["ask"], heads: Heads): Promise<RevocationRound> {
  const seen: { start: number; end: number; isAllowed: boolean }[] = [];
  let announced = Number.POSITIVE_INFINITY;
  const loop = async () => {
    for (let late = 0; late < refusalsWanted; ) {
      const start = performance.now();
      const { isAllowed } = await ask();
      seen.push({ start, end: performance.now(), isAllowed });
      if (start > announced) late += 1;
    }
  };
  const running = Promise.all(Array.from({ length: loops }, loop));
  await until(() => seen.some(({ isAllowed }) => isAllowed), "a decision that allows");
  const sent = performance.now();
  const block = await mined(chain, await chain.kmsAuth.write.removeKmsDevice([kmsRequest.deviceId]));
  announced = await heads.timeOf(block);
  await running;
  const after = seen.filter(({ start }) => start > announced);
  const firstRefusal = Math.min(...seen.filter(({ start, isAllowed }) => start > sent && !isAllowed).map(({ end }) => end));
  const allowed = after.filter(({ isAllowed }) => isAllowed).length;
  return { block, headToRefusalMs: firstRefusal - announced, decisions: after.length, allowed };
}

async function until(isReached: () => boolean, what: string): Promise<void> {
  for (const end = performance.now() + patienceMs; !isReached(); await sleep(2)) {
    if (performance.now() > end) throw new Error(`waited ${patienceMs} ms for ${what}`);
  }
}

async function mined(chain: TestChain, hash: string): Promise<number> {
  for (;;) {
    const receipt = (await chain.rpc("eth_getTransactionReceipt", [hash])) as { blockNumber: string; status: string } | null;
    if (receipt?.status === "0x1") return Number(receipt.blockNumber);
    if (receipt !== null) throw new Error("the transaction was reverted");
    await sleep(5);
  }
}

interface Heads {
  /** By this process's clock; waits for it. */
  timeOf(block: number): Promise<number>;
  close(): void;
}

/** The node says of itself when a block becomes its head. */
async function subscribe(rpcUrl: string): Promise<Heads> {
  const times = new Map<number, number>();
  const socket = new WebSocket(rpcUrl.replace("http", "ws"));
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", reject);
  });
  socket.addEventListener("message", ({ data }) => {
    const now = performance.now();
    const number = (JSON.parse(String(data)) as { params?: { result?: { number?: string } } }).params?.result?.number;
    if (number !== undefined) times.set(Number(number), now);
  });
  socket.send(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_subscribe", params: ["newHeads"] }));
  return {
    async timeOf(block) {
      for (let time = times.get(block); ; time = times.get(block)) {
        if (time !== undefined) return time;
        await sleep(1);
      }
    },
    close: () => socket.close(),
  };
}
