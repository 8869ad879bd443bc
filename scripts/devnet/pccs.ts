/** The simulated platform's collateral over HTTP: the routes, headers and body forms of a PCCS (tdx-attestation 2.10). */
import { createServer, type Server } from "node:http";
import { toHex } from "../../kms/bytes.ts";
import type { SimulatedPlatform } from "./platform.ts";

interface Answer {
  readonly type: string;
  readonly body: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}

const requestTimeoutMs = 10_000;
const maxConnections = 64;

export function createPccs(platform: SimulatedPlatform, now: () => Date): Server {
  const server = createServer((request, response) => {
    request.resume();
    const found = request.method === "GET" ? answer(platform, now(), new URL(request.url ?? "/", "http://pccs")) : undefined;
    const body = Buffer.from(found?.body ?? "no such collateral\n");
    response.writeHead(found === undefined ? 404 : 200, {
      "Content-Type": found?.type ?? "text/plain",
      "Content-Length": body.length,
      ...found?.headers,
    });
    response.end(body);
  });
  server.requestTimeout = requestTimeoutMs;
  server.headersTimeout = requestTimeoutMs;
  server.maxConnections = maxConnections;
  return server;
}

function answer(platform: SimulatedPlatform, now: Date, url: URL): Answer | undefined {
  const collateral = platform.collateral(now);
  const chain = encodeURIComponent;
  switch (url.pathname) {
    case "/sgx/certification/v4/pckcrl":
      if (url.searchParams.get("ca") !== "platform") return undefined; // this machine has no Processor CA
      return {
        type: "application/pkix-crl",
        body: url.searchParams.get("encoding") === "der" ? collateral.pckCrl : toHex(collateral.pckCrl),
        headers: { "SGX-PCK-CRL-Issuer-Chain": chain(collateral.pckCrlIssuerChain) },
      };
    case "/sgx/certification/v4/pckcert":
      return pckCertificate(platform, url.searchParams);
    case "/sgx/certification/v4/rootcacrl":
      return { type: "text/plain", body: toHex(collateral.rootCaCrl) };
    case "/tdx/certification/v4/tcb":
      if (url.searchParams.get("fmspc")?.toLowerCase() !== toHex(platform.fmspc)) return undefined;
      return signedJson("tcbInfo", collateral.tcbInfo, collateral.tcbInfoSignature, {
        "TCB-Info-Issuer-Chain": chain(collateral.tcbSigningChain),
      });
    case "/tdx/certification/v4/qe/identity":
      return signedJson("enclaveIdentity", collateral.qeIdentity, collateral.qeIdentitySignature, {
        "SGX-Enclave-Identity-Issuer-Chain": chain(collateral.tcbSigningChain),
      });
    default:
      return undefined;
  }
}

function pckCertificate({ pckCertificate: machine }: SimulatedPlatform, query: URLSearchParams): Answer | undefined {
  const named = query.get("encrypted_ppid")?.toLowerCase();
  const isKnown = machine.encryptedPpids.some((ppid) => toHex(ppid) === named);
  if (!isKnown || query.get("qeid")?.toLowerCase() !== toHex(machine.qeId)) return undefined;
  return {
    type: "application/x-pem-file",
    body: machine.leafPem,
    headers: {
      "SGX-PCK-Certificate-Issuer-Chain": encodeURIComponent(machine.issuerChain),
      "SGX-TCBm": toHex(machine.tcbm).toUpperCase(),
    },
  };
}

/** The inner text goes out as it was signed; encoding it again would be a second spelling. */
function signedJson(member: string, text: string, signature: Uint8Array, headers: Record<string, string>): Answer {
  return { type: "application/json", body: `{"${member}":${text},"signature":"${toHex(signature)}"}`, headers };
}
