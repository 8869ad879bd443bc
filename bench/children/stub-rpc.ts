/** A chain endpoint that answers every method a webhook may ask, at once or after a fixed time: `stub-rpc.ts MILLISECONDS`. */
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { encodeFunctionData, encodeFunctionResult, type Hex, numberToHex } from "viem";
import { abi } from "../auth-abi.ts";
import { bootInfo, chainId, gatewayAppId } from "../auth-question.ts";
import { announce, endWithParent, listenOnLoopback } from "./child.ts";

interface Call {
  readonly id: number;
  readonly method: string;
  readonly params: readonly unknown[];
}

const latencyMs = Number(process.argv[2] ?? "0");
const blockMs = 1_000;
const hashOf = (number: number): Hex => numberToHex(number, { size: 32 });
const gateway = encodeFunctionResult({ abi, functionName: "gatewayAppId", result: gatewayAppId });
const allowed = encodeFunctionResult({ abi, functionName: "isKmsAllowed", result: [true, ""] });
const gatewayCall = encodeFunctionData({ abi, functionName: "gatewayAppId" });
/** A program ends with its calls' data: that of a decision with the policy's. */
const programEnd = encodeFunctionData({ abi, functionName: "isKmsAllowed", args: [bootInfo] }).slice(2);
const codeSize = 12_000;

const word = (value: number): string => value.toString(16).padStart(64, "0");
const success = (answer: Hex): string => word(1) + word(answer.length / 2 - 1) + answer.slice(2);
let block = blockAt(1);
setInterval(() => {
  block = blockAt(block.number + 1);
}, blockMs).unref();

/** The header, and what programs answer that run at it: the block in words, then each call's answer. */
function blockAt(number: number) {
  const timestamp = Math.floor(Date.now() / 1000);
  const parentHash = hashOf(number - 1);
  const header = { number: numberToHex(number), hash: hashOf(number), parentHash, timestamp: numberToHex(timestamp) };
  const anchor = `0x${word(number)}${parentHash.slice(2)}${word(timestamp)}${word(chainId)}${word(codeSize)}`;
  return { number, header, readiness: anchor + success(gateway), decision: anchor + success(gateway) + success(allowed) };
}

function resultOf({ method, params }: Call): unknown {
  switch (method) {
    case "eth_chainId":
      return numberToHex(chainId);
    case "eth_blockNumber":
      return block.header.number;
    case "eth_getBlockByNumber":
    case "eth_getBlockByHash":
      return block.header;
    case "eth_getCode":
      return "0x00";
    case "eth_call":
      return callResult(params[0] as { to?: Hex; data: Hex });
    default:
      throw new Error(`the stub does not answer ${method}`);
  }
}

function callResult({ to, data }: { to?: Hex; data: Hex }): string {
  if (to === undefined) return data.endsWith(programEnd) ? block.decision : block.readiness;
  return data === gatewayCall ? gateway : allowed;
}

const respond = (call: Call) => ({ jsonrpc: "2.0", id: call.id, result: resultOf(call) });

const server = createServer(async (request, response) => {
  const body = JSON.parse(await text(request)) as Call | Call[];
  const answer = () => {
    const content = JSON.stringify(Array.isArray(body) ? body.map(respond) : respond(body));
    response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(content) }).end(content);
  };
  if (latencyMs === 0) answer();
  else setTimeout(answer, latencyMs);
});

endWithParent();
announce(await listenOnLoopback(server));
