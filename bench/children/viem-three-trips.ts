/** A webhook as one writes it with viem's client: chain id, then block number, then both reads at it. `viem-three-trips.ts RPC_URL` */
import { Hono } from "hono";
import { createPublicClient, http } from "viem";
import { bootInfoSchema } from "../../auth-eth/api.ts";
import { toAppBootInfo } from "../../auth-eth/boot-info.ts";
import { listen } from "../../auth-eth/server.ts";
import { abi } from "../auth-abi.ts";
import { contract, decisionPath } from "../auth-question.ts";
import { announce, endWithParent } from "./child.ts";

const client = createPublicClient({ transport: http(process.argv[2]), cacheTime: 0 });
const app = new Hono();
app.post(decisionPath, async (c) => {
  const args = [toAppBootInfo(bootInfoSchema.parse(await c.req.json()))] as const;
  await client.getChainId();
  const blockNumber = await client.getBlockNumber();
  const at = { abi, address: contract, blockNumber };
  const [[isAllowed, reason], gatewayAppId] = await Promise.all([
    client.readContract({ ...at, functionName: "isKmsAllowed", args }),
    client.readContract({ ...at, functionName: "gatewayAppId" }),
  ]);
  return c.json({ isAllowed, reason, gatewayAppId });
});

endWithParent();
announce((await listen(app, "127.0.0.1", 0)).url);
