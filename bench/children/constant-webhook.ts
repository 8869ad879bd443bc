/** A policy that says yes to everything at once: what the KMS costs is not what the chain costs. */
import { createServer } from "node:http";
import { announce, endWithParent, listenOnLoopback } from "./child.ts";

const decision = JSON.stringify({ isAllowed: true, gatewayAppId: "gateway", reason: "" });
const description = JSON.stringify({
  status: "ok",
  kmsContractAddr: "0x00000000000000000000000000000000000000aa",
  gatewayAppId: "gateway",
  chainId: 31_337,
  appImplementation: "0x00000000000000000000000000000000000000bb",
});

const server = createServer((request, response) => {
  const body = request.method === "GET" ? description : decision;
  const headers = { "content-type": "application/json", "content-length": body.length };
  request.resume().on("end", () => response.writeHead(200, headers).end(body));
});

endWithParent();
announce(await listenOnLoopback(server));
