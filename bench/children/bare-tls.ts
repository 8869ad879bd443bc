/** The floor: Node's own TLS server with the KMS's certificates, which asks for a client certificate and answers a constant: `bare-tls.ts CERT_DIR` */
import { readFile } from "node:fs/promises";
import { createServer } from "node:https";
import { join } from "node:path";
import { tlsServerOptions } from "../../kms/ra-tls/server.ts";
import { answerBytes, constantText } from "../kms-calls.ts";
import { announce, endWithParent, listenOnLoopback } from "./child.ts";

const read = (name: string) => readFile(join(process.argv[2] ?? "", name));
const [keyPem, certPem, tempCaPem] = await Promise.all([read("rpc.key"), read("rpc.crt"), read("tmp-ca.crt")]);
const body = constantText.padEnd(answerBytes);

const tls = tlsServerOptions({ keyPem, certPem: certPem.toString(), tempCaPem: tempCaPem.toString() });
const server = createServer(tls, (request, response) => {
  const headers = { "content-type": "application/json", "content-length": body.length };
  request.resume().on("end", () => response.writeHead(200, headers).end(body));
});

endWithParent();
announce((await listenOnLoopback(server)).replace("http:", "https:"));
