/** Our own webhook made to take three trips: chain id, then header, then both reads at its hash. `our-three-trips.ts RPC_URL` */
import pino from "pino";
import { decodeFunctionResult, encodeFunctionData, type Hex } from "viem";
import { createApp } from "../../auth-eth/app.ts";
import type { Authority } from "../../auth-eth/authority.ts";
import { toAppBootInfo } from "../../auth-eth/boot-info.ts";
import { createChainRpc } from "../../auth-eth/chain-rpc.ts";
import { createExchanger } from "../../auth-eth/exchange.ts";
import { explain } from "../../auth-eth/gates.ts";
import { createMetrics } from "../../auth-eth/metrics.ts";
import { createRequestLog } from "../../auth-eth/request-log.ts";
import { listen } from "../../auth-eth/server.ts";
import { abi } from "../auth-abi.ts";
import { contract } from "../auth-question.ts";
import { announce, endWithParent } from "./child.ts";

const metrics = createMetrics();
const log = createRequestLog(pino({ name: "auth-eth" }, pino.destination({ sync: true })));
const [url = "", exchanger, maxBatch] = [process.argv[2], createExchanger(), 1];
const rpc = createChainRpc({ url, name: "stub", exchanger, maxBatch, observe: metrics.rpc });

const authority: Pick<Authority, "decide"> = {
  async decide(kind, boot) {
    const signal = AbortSignal.timeout(5_000);
    await rpc.batch([{ method: "eth_chainId", params: [] }], signal);
    const [head] = await rpc.batch([{ method: "eth_getBlockByNumber", params: ["latest", false] }], signal);
    const { hash, number, timestamp } = head as Record<"hash" | "number" | "timestamp", Hex>;
    const calls = [
      encodeFunctionData({ abi, functionName: "gatewayAppId" }),
      encodeFunctionData({ abi, functionName: "isKmsAllowed", args: [toAppBootInfo(boot)] }),
    ];
    const at = { blockHash: hash, requireCanonical: true };
    const reads = calls.map((data) => ({ method: "eth_call", params: [{ to: contract, data }, at] }));
    const [gateway, policy] = (await rpc.batch(reads, signal)) as [Hex, Hex];
    const gatewayAppId = decodeFunctionResult({ abi, functionName: "gatewayAppId", data: gateway });
    const [isAllowed, reason] = decodeFunctionResult({ abi, functionName: "isKmsAllowed", data: policy });
    const block = { number: Number(number), hash, timestamp: Number(timestamp) };
    return { isAllowed, reason, gatewayAppId, ...explain(kind, boot, { isAllowed, reason }), block };
  },
};
const unasked = () => Promise.reject(new Error("not part of the bench"));

const app = createApp({
  authority: { ...authority, deployment: unasked, ready: unasked },
  log,
  metrics,
  kmsContractAddr: contract,
  maxConcurrent: 256,
});
endWithParent();
announce((await listen(app, "127.0.0.1", 0)).url);
