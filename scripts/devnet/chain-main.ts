/** The local chain as a process: Hardhat's EDR over JSON-RPC on the loopback interface, with a block every second. */
import { parseArgs } from "node:util";
import { network } from "hardhat";
import { announce, endWithParent } from "./child-process.ts";

const blockIntervalMs = 1_000;
const { values } = parseArgs({ options: { port: { type: "string", default: "0" } } });

const server = await network.createServer(
  { override: { mining: { auto: true, interval: blockIntervalMs }, loggingEnabled: false } },
  "127.0.0.1",
  Number(values.port),
);
const { address, port } = await server.listen();
announce({ url: `http://${address}:${port}` });
endWithParent(() => server.close());
