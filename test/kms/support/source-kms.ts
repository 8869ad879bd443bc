/** A KMS with keys to give, over real TLS and with real evidence, of which a test can spoil one thing. */
import "reflect-metadata";
import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { TLSSocket } from "node:tls";
import { encodeEvidence, stripEvidence } from "../../../kms/attestation/evidence.ts";
import { reportData } from "../../../kms/attestation/report-data.ts";
import { utf8 } from "../../../kms/bytes.ts";
import { makeRootCa, makeTempCa } from "../../../kms/ca/kms-certificates.ts";
import { type CertificateRequest, issueCertificate } from "../../../kms/ca/profile.ts";
import { encodePkcs8, p256Spki } from "../../../kms/keys/kdf.ts";
import { encodeKeyPem } from "../../../kms/keys/key-pem.ts";
import { caSpki, generateP256Scalar, generateRootKeys, k256Pubkey } from "../../../kms/keys/root-keys.ts";
import { oidOf, privateExtension } from "../../../kms/ra-tls/extensions.ts";
import { peerCertificateDer, refuseForeignCertificates, tlsServerOptions } from "../../../kms/ra-tls/server.ts";
import type { SimulatedTd } from "../../../scripts/devnet/td.ts";

export const random = (length: number) => new Uint8Array(randomBytes(length));
export const sourceKeys = generateRootKeys(random);
export const publicKeys = {
  k256Pubkey: Buffer.from(k256Pubkey(sourceKeys)).toString("hex"),
  caPubkey: Buffer.from(caSpki(sourceKeys)).toString("hex"),
};
const now = new Date();
export const keyText = (scalar: Uint8Array) => Buffer.from(encodeKeyPem(scalar)).toString();

export const tempCaScalar = generateP256Scalar(random);
export const sourceRpcScalar = generateP256Scalar(random);
const rootCaPem = await makeRootCa(sourceKeys, now);
const tempCaPem = await makeTempCa(tempCaScalar, now);

/** What GetTempCaCert and GetKmsKey of this KMS answer. */
export const tempCaAnswer = { temp_ca_cert: tempCaPem, temp_ca_key: keyText(tempCaScalar), ca_cert: rootCaPem };
export const kmsKeyAnswer = {
  temp_ca_key: keyText(tempCaScalar),
  keys: [{ ca_key: keyText(sourceKeys.caScalar), k256_key: Buffer.from(sourceKeys.k256Key).toString("hex") }],
};

export interface SourceOptions {
  readonly td: SimulatedTd;
  /** The key of the TLS server. */
  readonly rpcScalar?: Uint8Array;
  /** The key that the evidence is bound to. */
  readonly evidenceOver?: Uint8Array;
  /** The extensions of the leaf, given those of an honest KMS by name. */
  readonly extensions?: (honest: { usage: Extension; evidence: Extension }) => Extension[];
  readonly leaf?: Partial<CertificateRequest>;
  readonly answer?: (method: string, response: ServerResponse) => unknown;
}

export type Extension = ReturnType<typeof privateExtension>;

export interface SourceKms {
  readonly url: string;
  readonly requests: { readonly path: string; readonly body: string; readonly attested: boolean }[];
  close(): Promise<void>;
}

export async function startSource(options: SourceOptions): Promise<SourceKms> {
  const rpcScalar = options.rpcScalar ?? sourceRpcScalar;
  const tls = tlsServerOptions({ keyPem: encodeKeyPem(rpcScalar), certPem: await leafOf(options, rpcScalar), tempCaPem });
  const requests: { path: string; body: string; attested: boolean }[] = [];
  const server = createServer(tls, async (request, response) => {
    let body = "";
    for await (const chunk of request) body += String(chunk);
    const peer = request.socket instanceof TLSSocket ? peerCertificateDer(request.socket) : undefined;
    const path = request.url ?? "";
    requests.push({ path, body, attested: peer !== undefined });
    const method = /([A-Za-z]+)\?json$/.exec(path)?.[1] ?? "";
    const honest = method === "GetTempCaCert" ? tempCaAnswer : kmsKeyAnswer;
    const answer = options.answer?.(method, response) ?? honest;
    if (answer !== "taken over") response.end(JSON.stringify(answer));
  });
  refuseForeignCertificates(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function leafOf({ td, evidenceOver, extensions, leaf }: SourceOptions, rpcScalar: Uint8Array): Promise<string> {
  const envelope = td.evidence(reportData("ratls-cert", p256Spki(evidenceOver ?? rpcScalar)));
  const honest = {
    usage: privateExtension(oidOf.usage, utf8("kms:rpc")),
    evidence: privateExtension(oidOf.attestation, encodeEvidence(stripEvidence(envelope))),
  };
  return issueCertificate(
    {
      subject: { commonName: "source.example" },
      altNames: ["source.example"],
      spki: p256Spki(rpcScalar),
      extensions: extensions?.(honest) ?? [honest.usage, honest.evidence],
      now,
      ...leaf,
    },
    { certificate: rootCaPem, pkcs8: encodePkcs8(sourceKeys.caScalar) },
  );
}
